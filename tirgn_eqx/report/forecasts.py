"""Sample forecasts: what a model held most probable, what carries it, and what happened."""

from collections.abc import Sequence
from typing import Any

from tirgn_eqx.report.html import percent, text
from tirgn_eqx.report.runs import Run

LEAST = 0.005  # share of a forecast that is told
_PARTS = ("subject", "relation", "object")


def forecasts(runs: Sequence[Run], names: Sequence[str]) -> str:
    """Questions of the split with the best candidates, what carries them, and what happened; a question that several
    runs were asked stands there once, with their forecasts side by side."""
    asked: dict[tuple[str, ...], list[tuple[str, dict[str, Any]]]] = {}
    for run, name in zip(runs, names):
        for sample in run.measured.get("samples", ()):
            key = (str(sample["time"]), sample["predicted"], *(str(sample.get(part)) for part in _PARTS))
            asked.setdefault((*key, sample["answer"]), []).append((name, sample))
    if not asked:
        return ""
    several = sum(bool(run.measured.get("samples")) for run in runs) > 1
    cards = "".join(_card(found, several) for found in asked.values())
    told = (
        "<p>Questions drawn at random from the split, with what the model held most probable, from what was known "
        "before. The answers that came true are marked.</p>"
    )
    return f'{told}<div class="cards{" wide" if several else ""}">{cards}</div>'


def _card(found: Sequence[tuple[str, dict[str, Any]]], several: bool) -> str:
    """One question: the candidates of each run, what carries them, and what happened."""
    words, sample = {"subject": "who?", "object": "whom?"}, found[0][1]
    parts = [text(words[part] if part == sample["predicted"] else sample[part]) for part in _PARTS]
    lists = "".join(
        f"<div>{f'<h4>{text(name)}</h4>' if several else ''}{_candidates(one)}</div>" for name, one in found
    )
    listed = {one["name"] for _, side in found for one in side["candidates"]} | {sample["answer"]}
    others = [text(name) for name in sample["happened"] if name not in listed][:5]
    also = f" Also true: {', '.join(others)}." if others else ""
    came = f"<p>The answer was {text(sample['answer'])}.{also}</p>"
    return (
        f"<article><h3>{' – '.join(parts)}</h3><p class='soft'>at {text(sample['time'])}</p>"
        f'<div class="sides">{lists}</div>{came}</article>'
    )


def _candidates(sample: dict[str, Any]) -> str:
    """The most probable answers, and where the one asked about stands."""
    happened, items = set(sample["happened"]), []
    for candidate in sample["candidates"]:
        shown = f"{text(candidate['name'])}: {percent(candidate['probability'])} %"
        if candidate["name"] in happened:
            shown = f"<span class='came'>{shown} ✓ came true</span>"
        items.append(f"<li>{shown}{_because(candidate.get('explanation'))}</li>")
    rank = f"{sample['rank']:,.0f}" if sample["rank"] == round(sample["rank"]) else f"{sample['rank']:,.1f}"
    answer = f"The answer had rank {rank} and {percent(sample['answer_probability'])} %."
    return f"<ol>{''.join(items)}</ol><p class='soft'>{answer}</p>"


def _because(why: dict[str, Any] | None) -> str:
    """What carries a candidate, in a line."""
    if not why:
        return ""
    if "shares" in why:
        said = []
        for share in [one for one in why["shares"] if one["share"] >= LEAST][:3]:
            what = share["kind"]
            if what == "event":
                what = f"{share['subject']} – {share['relation']} – {share['object']}"
                what += f", {_times(share['events'])}, last {share['last']}"
            said.append(f"{100 * share['share']:.0f} % {what}")
        shown = "; ".join(said)
    else:
        seen = f"seen {_times(why['events'])}, last {why['last']}" if why.get("events") else "never seen"
        shown = f"{seen}; {100 * why['from_history']:.0f} % from history mode"
    return f"<br><span class='because'>{text(shown)}</span>"


def _times(events: int) -> str:
    return "once" if events == 1 else f"{events:,} times"
