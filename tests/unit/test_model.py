"""Models as they are loaded, from whole folders and from damaged ones."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.untrained import DDPM, EDM, VP_SDE, untrained
from workflow_scripts import diffusion as engine
from workflow_scripts.common.errors import InputError
from workflow_scripts.diffusion import Model, draw, load_model, sample
from workflow_scripts.diffusion.model import load_guide


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return untrained(tmp_path_factory.mktemp("models") / "small")


@pytest.fixture
def copy(folder, tmp_path):
    """The model's folder, to be damaged."""
    return shutil.copytree(folder, tmp_path / "small")


def batch(model, count=3):
    x = torch.randn(count, 1, model.image_size, model.image_size)
    return x, model.conditions.vector("Effusion", view="AP").expand(count, -1)


def test_three_lines_draw_what_is_asked_for(folder):
    model = load_model(folder)
    images = draw(model, finding="Effusion", view="AP", sex="F", age=60, count=3, seed=1, steps=2)
    assert isinstance(model, Model)
    assert images.dtype == np.uint8
    assert images.shape == (3, 16, 16)
    assert len({image.tobytes() for image in images}) == 3


def test_what_is_asked_for_matters(folder):
    model = load_model(folder)
    asked = [
        {"finding": "Effusion"},
        {"finding": "Pneumonia"},
        {"finding": ["Effusion", "Pneumonia"]},
        {"finding": "Effusion", "view": "AP"},
        {"finding": "Effusion", "sex": "F"},
        {"finding": "Effusion", "age": 60},
        {"finding": "Effusion", "age": 70},
        {},
    ]
    drawn = {draw(model, **one, steps=2, guidance=3.0).tobytes() for one in asked}
    assert len(drawn) == len(asked)
    assert draw(model, "Effusion", steps=2).tobytes() != draw(model, "Effusion", steps=3).tobytes()


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"finding": "Efusion"}, "No Finding, Effusion, Pneumonia"),
        ({"finding": "Effusion", "view": "LATERAL"}, "AP, PA"),
        ({"finding": "Effusion", "sex": "X"}, "F, M"),
        ({"finding": "Effusion", "age": 150}, "0 to 100"),
    ],
)
def test_what_is_not_known_is_refused_with_what_is(folder, asked, message):
    with pytest.raises(InputError, match=message):
        draw(load_model(folder), **asked)


def test_an_unknown_setting_of_a_sampler_is_refused(folder):
    with pytest.raises(TypeError, match="stepps"):
        draw(load_model(folder), "Effusion", stepps=3)


@pytest.mark.parametrize("diffusion", [DDPM, DDPM | {"prediction": "sample"}, VP_SDE, EDM])
def test_denoising_inverts_what_training_asks_for(tmp_path, diffusion):
    model = load_model(untrained(tmp_path / "m", diffusion))
    process = model.process
    x0, eps = torch.randn(4, 1, 16, 16), torch.randn(4, 1, 16, 16)
    t = process.levels(torch.tensor([0.1, 0.3, 0.6, 0.8]))
    x, target = process.noisy(x0, eps, t), process.target(x0, eps, t)
    seen = []

    def perfect(given, time, c):
        seen.append((given, time))
        return target[:1]

    for k in range(4):
        target = process.target(x0, eps, t)[k : k + 1]
        model.network.forward = perfect
        level = process.level(float(t[k]))
        said = model.denoise(x[k : k + 1], level, torch.zeros(1, model.conditions.width))
        torch.testing.assert_close(said, x0[k : k + 1], atol=2e-4, rtol=1e-3)
        given, time = seen[-1]
        one = slice(k, k + 1)
        torch.testing.assert_close(given, process.network_input(x, t)[one], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(time, process.network_time(t)[one], atol=1e-3, rtol=1e-6)


def test_other_weights_make_another_model(folder):
    model = load_model(folder)
    before = torch.random.get_rng_state()
    early = load_model(folder, weights=folder / "ema" / "early.safetensors")
    assert torch.equal(torch.random.get_rng_state(), before)
    kept = load_file(folder / "ema" / "early.safetensors")
    assert all(torch.equal(kept[name], value) for name, value in early.network.state_dict().items())
    x, c = batch(model)
    level = model.process.level(500.0)
    assert not torch.allclose(model.denoise(x, level, c), early.denoise(x, level, c))
    for one in (model, early):
        assert not one.network.training
        assert not any(parameter.requires_grad for parameter in one.network.parameters())


def test_a_guide_is_none_the_model_s_own_past_or_its_neighbour(folder):
    neighbour = untrained(folder.parent / "neighbour", EDM, seed=1)
    assert load_guide(folder, None) is None
    early = load_file(folder / "ema" / "early.safetensors")
    for name, value in load_guide(folder, "early").network.state_dict().items():
        assert torch.equal(early[name], value)
    assert load_guide(folder, "neighbour").facts == json.loads(
        (neighbour / "model.json").read_text()
    )


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def edit(**changes):
    def change(path):
        facts = json.loads(path.read_text()) | changes
        path.write_text(json.dumps({k: v for k, v in facts.items() if v is not None}))

    return change


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("model.json", lambda path: path.unlink()),
        ("model.json", cut),
        ("model.json", lambda path: path.write_text("[]")),
        ("model.json", lambda path: path.write_bytes(b"\xff\xfe")),
        ("model.json", edit(sigma_data=None)),
        ("model.json", edit(diffusion=None)),
        ("model.json", edit(diffusion={"process": "ddpm"})),
        ("model.json", edit(conditions={"colour": ["red"]})),
        ("model.json", edit(conditions={"finding": ["Effusion"]})),
        ("model.json", edit(image_size=32)),
        ("unet/config.json", lambda path: path.unlink()),
        ("unet/diffusion_pytorch_model.safetensors", lambda path: path.unlink()),
        ("unet/diffusion_pytorch_model.safetensors", cut),
    ],
)
def test_a_damaged_folder_is_refused_with_the_file_named(copy, name, damage):
    damage(copy / name)
    with pytest.raises(InputError, match=(copy / name).parent.name) as refusal:
        load_model(copy)
    assert "Remove the file" in str(refusal.value) or "Name the folder" in str(refusal.value)


@pytest.mark.parametrize(
    "damage",
    [cut, lambda path: path.unlink(), lambda path: path.write_bytes(b"PK" + bytes(100))],
)
def test_damaged_weights_are_refused_with_the_file_named(copy, damage):
    early = copy / "ema" / "early.safetensors"
    damage(early)
    with pytest.raises(InputError, match=r"early\.safetensors"):
        load_model(copy, weights=early)


def test_weights_of_another_network_are_refused(copy, tmp_path):
    foreign = untrained(tmp_path / "other", conditions={"finding": ["Effusion"]})
    with pytest.raises(InputError, match="holds no weights of this model"):
        load_model(copy, weights=foreign / "ema" / "early.safetensors")
    shutil.copytree(foreign / "unet", copy / "unet", dirs_exist_ok=True)
    with pytest.raises(InputError, match="different models"):
        load_model(copy)


def test_a_step_that_needs_no_sampler_loads_none(root):
    script = (
        "import sys, workflow_scripts.diffusion.schedule\n"
        "ours = [name for name in sys.modules if name.startswith('workflow_scripts.diffusion.')]\n"
        "assert ours == ['workflow_scripts.diffusion.schedule'], ours\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=root, check=True)
    with pytest.raises(AttributeError, match="nothing"):
        _ = engine.nothing


def test_sample_is_the_engine_s(folder):
    model = load_model(folder)
    c = model.conditions.vector("Effusion").expand(2, -1)
    x = sample(model, c, torch.tensor([1, 2]), {"steps": 2})
    assert x.shape == (2, 1, 16, 16)
    assert x.dtype == torch.float32
