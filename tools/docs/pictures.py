"""Pictures of the program at work, for README and documentation, from real runs: the page of `tirgn report` in a
browser, and what a training and a forecast say on a terminal.

Why: a picture that was drawn once tells what was; this one tells what is. Needs Chromium and `tirgn-eqx[browser]`.

    python -m tools.docs.pictures
    python -m tools.docs.pictures --epochs 2 --out /tmp/pictures
"""

import argparse
import io
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks import common
from benchmarks.common import note

FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking")
VIEWS = {"report": (1100, 900, "light"), "report-dark": (1100, 900, "dark"), "report-phone": (390, 844, "light")}
MOST_BYTES = 150_000
WIDTH = 80  # columns of a terminal


def said(*words: str, cwd: Path) -> str:
    """What `tirgn WORDS` says, line by line: a display that is drawn again and again stays out."""
    environment = common.child_environment(COLUMNS=str(WIDTH))
    done = subprocess.run(
        [sys.executable, "-m", "tirgn_cli", *words],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    note(f"tirgn {' '.join(words)}")
    return done.stderr + done.stdout


def terminal(command: str, text: str, path: Path, most: int) -> None:
    """A command and the last lines of what it said as an SVG."""
    from rich.console import Console
    from rich.text import Text

    console = Console(width=WIDTH, record=True, file=io.StringIO(), force_terminal=True)
    console.print(Text(f"$ {command}", "bold"))
    lines = text.rstrip().split("\n")
    if len(lines) > most:
        console.print(Text("...", "dim"))
    for line in lines[-most:]:
        console.print(Text.from_ansi(line), overflow="ignore", no_wrap=True, crop=False)
    # Its own fonts would be fetched from elsewhere.
    svg = console.export_svg(title="tirgn", font_aspect_ratio=0.6)
    head, _, rest = svg.partition("@font-face")
    path.write_text(
        head + rest[rest.rindex("font-weight: 700;") :].partition("}")[2] if rest else svg, encoding="utf-8"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=common.ROOT / "docs" / "pictures", help="(default: docs/pictures)")
    parser.add_argument("--epochs", type=int, default=8, metavar="N", help="of the training (default: 8)")
    args = parser.parse_args()
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        parser.error("needs Chromium, which is not installed here")
    args.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        place = Path(work)
        train = ("train", "--epochs", str(args.epochs), "--set", "eval_interval=1")
        terminal(f"tirgn {' '.join(train[:3])}", said(*train, cwd=place), args.out / "training.svg", 44)
        evidence = ("train", "--model", "evidence", "--model-dir", "models/evidence", "--logdir", "runs/evidence")
        said(*evidence, cwd=place)
        ask = ("predict", "models/evidence/tirgn_best.npz", "--subject", "Press (Ulmia)", "--relation", "Yield")
        shown = " ".join(f'"{word}"' if " " in word else word for word in ask)
        terminal(f"tirgn {shown} --top 3", said(*ask, "--top", "3", cwd=place), args.out / "forecast.svg", 40)
        said("report", "models/tkg", "models/evidence", "--out", "report.html", cwd=place)
        photograph(place / "report.html", args.out, chromium)
    for path in sorted(args.out.iterdir()):
        note(f"{path.name}: {path.stat().st_size:,} bytes")
        assert path.stat().st_size <= MOST_BYTES, path


def photograph(page: Path, out: Path, chromium: str) -> None:
    """The page in every view as a PNG of few colours."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=list(FLAGS))
        for name, (width, height, scheme) in VIEWS.items():
            size = {"width": width, "height": height}
            # Without the smooth way of scrolling, whose middle the picture would show.
            context = browser.new_context(viewport=size, color_scheme=scheme, reduced_motion="reduce")  # pyright: ignore
            view = context.new_page()
            view.goto(page.as_uri())
            view.evaluate("document.getElementById('learning').scrollIntoView()")
            view.screenshot(path=out / f"{name}.png")
            context.close()
        browser.close()


if __name__ == "__main__":
    main()
