"""Measure ingest: CPU time and peak memory from a tar.gz of 1024 x 1024 PNGs to 256 x 256 uint8.

    .venv/bin/python benchmarks/ingest.py                    an archive made for the purpose
    .venv/bin/python benchmarks/ingest.py images_001.tar.gz  one of your own

Ours is the function of the rule resize_archive. The usual way, for comparison: `tar xzf`, then a
loop of Pillow's open, convert("L") and resize (Lanczos), and one torch file per image, as tutorials
have it. Each runs in processes of its own, in turns, and the best of three counts: other work on
the machine only ever adds. The result goes to benchmarks/results/ingest.md.
"""

import argparse
import io
import os
import platform
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
NATIVE = Path(os.environ.get("SYNTHORAX_REAL_DATA", ROOT.parent / "shared" / "data")) / "nih-mini"
FILMS = 400

OURS = """
import sys; from workflow_scripts.tensors.resize_archive import *
out = Path(sys.argv[2])
films = images_of({"kind": "nih", "channels": 1}, "a", {"archive": sys.argv[1]})
resize_archive("a", films, 256, 0, out / "a.npy", out / "a.parquet", out / "r.parquet")
"""
USUAL = """
import sys, subprocess, numpy as np, torch; from pathlib import Path; from PIL import Image
out = Path(sys.argv[2])
subprocess.run(["tar", "xzf", sys.argv[1], "-C", out], check=True)
for path in sorted(out.rglob("*.png")):
    image = Image.open(path).convert("L").resize((256, 256), Image.Resampling.LANCZOS)
    torch.save(torch.from_numpy(np.array(image)), path.with_suffix(".pt"))
"""
PEAK = "\nprint(next(l.split()[1] for l in open('/proc/self/status') if l.startswith('VmHWM')))"


def native_films() -> list[bytes]:
    """Return the untouched 1024 x 1024 grey NIH films of the shared data, if they are here."""
    films = []
    for archive in sorted(NATIVE.glob("images_*.tar.gz")):
        with tarfile.open(archive) as tar:
            for member in tar:
                content = tar.extractfile(member).read()
                image = Image.open(io.BytesIO(content))
                if image.size == (1024, 1024) and image.mode == "L":
                    films.append(content)
    return films


def drawn_films(count: int = 20) -> list[bytes]:
    """Return films of soft shapes and noise that take about 400 KB each, as NIH's do."""
    films = []
    for number in range(count):
        random = np.random.default_rng(number)
        coarse = Image.fromarray(random.uniform(30, 225, (12, 12)).astype(np.float32))
        soft = np.asarray(coarse.resize((1024, 1024), Image.Resampling.BICUBIC))
        film = soft + random.normal(0, 1.6, soft.shape)
        stream = io.BytesIO()
        Image.fromarray(film.clip(0, 255).astype(np.uint8)).save(stream, "PNG")
        films.append(stream.getvalue())
    return films


def make_archive(path: Path, films: list[bytes], count: int = FILMS) -> None:
    """Repeat `films` under different names until there are `count` of them."""
    with tarfile.open(path, "w:gz", compresslevel=1) as tar:
        for number in range(count):
            film = films[number % len(films)]
            header = tarfile.TarInfo(f"images/{number:08d}_000.png")
            header.size = len(film)
            tar.addfile(header, io.BytesIO(film))


def measure(code: str, archive: Path) -> tuple[float, float]:
    """Run `code` in a process of its own; return its CPU seconds, children's too, and peak in MB."""
    with tempfile.TemporaryDirectory(dir=archive.parent) as folder:
        before = os.times()
        run = subprocess.run(
            [sys.executable, "-c", code + PEAK, archive, folder],
            check=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
        after = os.times()
    seconds = after.children_user + after.children_system
    seconds -= before.children_user + before.children_system
    return seconds, int(run.stdout) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("archive", nargs="?", type=Path, help="tar.gz of 1024 x 1024 PNGs")
    given = parser.parse_args().archive
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "films.tar.gz"
        films = native_films()
        origin = f"{len(films)} native NIH films, repeated" if films else "drawn films"
        films = films or drawn_films()
        single = Path(folder) / "single.tar.gz"
        make_archive(single, films, 1)
        if given:
            archive.symlink_to(given.resolve())
            origin = given.name
        else:
            make_archive(archive, films)
        with tarfile.open(archive) as tar:
            sizes = [member.size for member in tar if member.name.endswith(".png")]
        best = {}
        for _ in range(3):
            for name, code in (("ours", OURS), ("usual", USUAL)):
                whole, peak = measure(code, archive)
                start, _ = measure(code, single)
                kept = best.get(name, (np.inf, np.inf, 0.0))
                best[name] = (min(kept[0], whole), min(kept[1], start), max(kept[2], peak))
    load = os.getloadavg()[0]
    lines = [
        "# Ingest: tar.gz of 1024 x 1024 PNGs to 256 x 256 uint8",
        "",
        f"`benchmarks/ingest.py`, {len(sizes)} images ({origin}) of {np.mean(sizes) / 1e3:.0f} KB; "
        f"{platform.machine()}, {os.cpu_count()} cores under a load of {load:.1f}, Python "
        f"{platform.python_version()}; best of three runs. Start-up is a run on one image: imports "
        "and tables, once per archive.",
        "",
        "| way | CPU ms per image | start-up, CPU s | peak MB |",
        "|---|---|---|---|",
    ]
    for name, title in (
        ("ours", "**stream, kornia_rs, box mean, one shard**"),
        ("usual", "unpack, Pillow in a loop, one `.pt` each"),
    ):
        whole, start, peak = best[name]
        each = (whole - start) / (len(sizes) - 1) * 1e3
        lines.append(f"| {title} | {each:.1f} | {start:.2f} | {peak:.0f} |")
    text = "\n".join(lines) + "\n"
    print(text)
    (ROOT / "benchmarks" / "results" / "ingest.md").write_text(text)


if __name__ == "__main__":
    main()
