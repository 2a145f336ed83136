"""The network: diffusers' own file, conditions that are sums, and a dropout that is dropout."""

import math
import os
import shutil

import pytest
import torch
from diffusers import UNet2DModel
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from workflow_scripts.common.errors import InputError
from workflow_scripts.diffusion.model import CONFIG, WEIGHTS, load_network
from workflow_scripts.diffusion.network import ByteDropout, build_network

SETTINGS = {
    "patch_size": 2,
    "channels": [8, 16],
    "layers_per_block": 1,
    "attention_levels": [1],
    "dropout": 0.2,
}
WIDTH = 4


def network(seed=0, **changes):
    torch.manual_seed(seed)
    return build_network(SETTINGS | changes, 16, WIDTH)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "unet"
    network().unet.save_pretrained(folder)
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "unet")


@pytest.mark.parametrize("patch", [1, 2, 4])
@pytest.mark.parametrize("time", [torch.tensor([3, 999]), torch.tensor([-1.3, 0.7])])
def test_shapes_and_times_whole_and_fractional(patch, time):
    model = network(patch_size=patch)
    assert (model.patch_size, model.image_size, model.width) == (patch, 16, WIDTH)
    x, c = torch.randn(2, 1, 16, 16), torch.rand(2, WIDTH)
    output = model(x, time, c)
    assert output.shape == x.shape
    model.eval()
    with torch.no_grad():
        assert not torch.equal(model(x, time, c), model(x, time.flip(0), c))
        assert not torch.equal(model(x, time, c), model(x, time, c.flip(0)))


def test_the_means_of_a_patchs_pixels_reach_the_output():
    """A norm of single channels takes them away; then noise in them stays in every image."""
    torch.manual_seed(0)
    model = build_network(SETTINGS | {"channels": [32, 64], "dropout": 0.0}, 64, WIDTH).eval()
    x, c, t = torch.randn(1, 1, 64, 64), torch.eye(WIDTH)[:1], torch.tensor([50])

    @torch.no_grad()
    def means(x):
        return pixel_unshuffle(model(x, t, c), 2).mean(dim=(0, 2, 3))

    responses = []
    for number in range(4):
        moved = pixel_unshuffle(x, 2)
        moved[:, number] += 0.1
        responses.append((means(pixel_shuffle(moved, 2)) - means(x)) / 0.1)
    strengths = torch.linalg.svdvals(torch.stack(responses))
    assert strengths[0] > 0.1 and strengths[-1] > 0.005


def test_fractions_of_a_time_step_count():
    model = network().eval()
    x, c = torch.randn(1, 1, 16, 16), torch.rand(1, WIDTH)
    with torch.no_grad():
        apart = [model(x, torch.tensor([t]), c) for t in (0.5, 0.501)]
    assert not torch.equal(*apart)


def test_diffusers_alone_gives_the_same_images_for_class_labels(saved, capfd):
    unet, info = UNet2DModel.from_pretrained(
        saved, low_cpu_mem_usage=False, output_loading_info=True
    )
    assert not any(info.values())
    assert capfd.readouterr().err == ""
    ours = load_network(saved)
    x, t = torch.randn(WIDTH, 1, 16, 16), torch.arange(WIDTH) * 200
    with torch.no_grad():
        patches = unet.eval()(pixel_unshuffle(x, 2), t, class_labels=torch.arange(WIDTH)).sample
        assert torch.equal(ours(x, t, torch.eye(WIDTH)), pixel_shuffle(patches, 2))


def test_a_loaded_network_is_the_saved_one_ready_to_evaluate(saved):
    ours, original = load_network(saved), network().eval()
    assert not ours.training
    assert not any(parameter.requires_grad for parameter in ours.parameters())
    x, t, c = torch.randn(2, 1, 16, 16), torch.tensor([5, 6]), torch.rand(2, WIDTH)
    with torch.no_grad():
        assert torch.equal(ours(x, t, c), original(x, t, c))


def test_embeddings_of_a_sum_are_sums():
    embedding = network().unet.class_embedding
    c = torch.tensor([[1.0, 1, 0, 0], [0, 0.25, 0.75, 0]])
    weight = embedding.weight
    expected = torch.stack([weight[0] + weight[1], 0.25 * weight[1] + 0.75 * weight[2]])
    torch.testing.assert_close(embedding(c), expected)
    embedding(c).sum().backward()
    torch.testing.assert_close(embedding.weight.grad[:, 0], c.sum(dim=0))


@pytest.mark.parametrize("attributes", [1, 2, 4])
def test_the_sum_of_the_embeddings_starts_with_variance_one(attributes):
    torch.manual_seed(0)
    settings = SETTINGS | {"channels": [64, 64]}
    model = build_network(settings, 16, 6 * attributes, attributes)
    c = torch.zeros(64, 6 * attributes)
    for k in range(attributes):
        c[torch.arange(64), 6 * k + torch.randint(6, (64,))] = 1
    assert model.unet.class_embedding(c).var().item() == pytest.approx(1, abs=0.1)


def test_the_seed_decides_the_weights():
    one, same, other = (network(seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["unet.conv_in.weight"], other["unet.conv_in.weight"])


def swap(name, **changes):
    """Put the other file of another network into the folder."""

    def damage(folder):
        network(**changes).unet.save_pretrained(folder / "other")
        shutil.copy(folder / "other" / name, folder / name)

    return damage


def colour(folder):
    blocks = {"down_block_types": ["DownBlock2D"] * 2, "up_block_types": ["UpBlock2D"] * 2}
    UNet2DModel(
        sample_size=16, block_out_channels=[8, 16], norm_num_groups=8, **blocks
    ).save_pretrained(folder)


@pytest.mark.parametrize(
    "damage",
    [
        shutil.rmtree,
        lambda folder: (folder / CONFIG).write_text("{"),
        lambda folder: (folder / CONFIG).write_text("[]"),
        lambda folder: (folder / WEIGHTS).unlink(),
        lambda folder: (folder / WEIGHTS).write_bytes(b""),
        lambda folder: (folder / WEIGHTS).write_bytes(os.urandom(5000)),
        lambda folder: (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-50]),
        swap(WEIGHTS, channels=[8, 24]),
        swap(WEIGHTS, layers_per_block=2),  # more weights than asked for
        swap(CONFIG, layers_per_block=2),  # fewer
        colour,
    ],
)
def test_a_damaged_or_foreign_model_is_refused(folder, damage):
    damage(folder)
    with pytest.raises(InputError, match=r"unet holds no model that can be loaded \(.+\)\. Remove"):
        load_network(folder)


# -- dropout ---------------------------------------------------------------------------------------


def test_the_networks_dropout_is_drawn_from_bytes():
    dropouts = [m for m in network().modules() if isinstance(m, torch.nn.Dropout) and m.p > 0]
    assert len(dropouts) > 5
    assert {(type(m), m.p) for m in dropouts} == {(ByteDropout, 51 / 256)}
    assert not any(isinstance(m, ByteDropout) for m in network(dropout=0.0).modules())


@settings(max_examples=30)
@given(st.floats(0.01, 0.99), st.integers(0, 100))
def test_rate_and_scale(p, seed):
    dropout, x = ByteDropout(p).train(), torch.ones(400, 501)
    torch.manual_seed(seed)
    y = dropout(x)
    assert abs(dropout.p - p) <= 1 / 512
    kept = y != 0
    assert torch.allclose(y[kept], torch.tensor(1 / (1 - dropout.p)), rtol=1e-6)
    error = 5 * math.sqrt(dropout.p * (1 - dropout.p) / x.numel())
    assert 1 - kept.float().mean().item() == pytest.approx(dropout.p, abs=error)


def test_masks_are_independent_along_every_lag_of_a_number():
    torch.manual_seed(0)
    kept = (ByteDropout(0.5)(torch.ones(1_000_000)) != 0).float()
    for place in range(8):  # no byte of a 64-bit number is special
        assert kept[place::8].mean().item() == pytest.approx(0.5, abs=5 * 0.5 / math.sqrt(125_000))
    for lag in (*range(1, 17), 624, 1248):  # 624: the words of a Mersenne twister's state
        both = (kept[lag:] * kept[:-lag]).mean().item()
        assert both == pytest.approx(0.25, abs=0.0025)


@pytest.mark.parametrize("count", [1, 7, 8, 9, 1000])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_any_number_and_kind_of_elements(count, dtype):
    y = ByteDropout(0.25)(torch.ones(count, dtype=dtype))
    assert y.shape == (count,) and y.dtype == dtype
    assert set(y.tolist()) <= {0.0, torch.tensor(4 / 3, dtype=dtype).item()}


def test_the_global_seed_decides_the_mask():
    dropout, x = ByteDropout(0.3), torch.randn(50, 60)

    def drawn(seed):
        torch.manual_seed(seed)
        return dropout(x), dropout(x)

    (first, second), (again, _), (other, _) = drawn(1), drawn(1), drawn(2)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first, second)


def test_in_evaluation_nothing_is_dropped_and_nothing_drawn():
    dropout, x = ByteDropout(0.3).eval(), torch.randn(50, 60)
    state = torch.get_rng_state()
    assert torch.equal(dropout(x), x)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_network_compiles_as_one_graph_off_the_cpu():
    model = network().to("meta")  # which takes the way of a GPU
    x, t, c = torch.empty(2, 1, 16, 16), torch.empty(2), torch.empty(2, WIDTH)
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    assert compiled(x.to("meta"), t.to("meta"), c.to("meta")).shape == x.shape


def test_gradients_pass_where_values_do():
    x = torch.randn(30, 40, requires_grad=True)
    y = ByteDropout(0.3)(x)
    y.sum().backward()
    torch.testing.assert_close(x.grad, torch.where(y == 0, 0.0, 1 / (1 - 77 / 256)))
