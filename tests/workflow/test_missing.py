"""What is asked for without what it needs is refused with advice, before any job starts."""

import pytest
import yaml


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("comparison", "a comparison needs a sampler: add one under samplers"),
        (
            "export",
            "models.small: its card shows and measures images, so that an export needs a sampler",
        ),
    ],
)
def test_without_a_sampler(snakemake, phantom_config, tmp_path, target, message):
    config = yaml.safe_load(phantom_config.read_text())
    del config["samplers"], config["studies"], config["readers"]
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    done = snakemake(tmp_path, target, "-n", "--configfile", path, check=False)
    assert done.returncode
    assert message in done.stdout + done.stderr
    assert "Traceback (most recent call last)" not in done.stderr
    trained = snakemake(tmp_path, "train", "-n", "--configfile", path)
    assert "train_diffusion" in trained.stdout + trained.stderr
