"""Ask a checkpoint by name: who is next, how probable it is, and what in the past speaks for it.

    python examples/forecast.py models/example/tirgn_best.npz
    python examples/forecast.py models/example/tirgn_best.npz --subject Meridia --relation Make_statement

Without a question, it takes the subject and relation of the fact that is most expected. An evidence model
(`tirgn train --model evidence`) names the very events that carry its forecast.
"""

import argparse
from typing import Any

import tirgn_eqx as tg


def why(reason: dict[str, Any]) -> str:
    """What carries an answer, in a few words."""
    if "shares" in reason:
        return ", ".join(f"{share['share']:.0%} {share.get('relation', share['kind'])}" for share in reason["shares"])
    if not reason["events"]:
        return "never seen before"
    return f"seen {reason['events']} times, last {reason['last']}; {reason['from_history']:.0%} from history"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("--subject")
    parser.add_argument("--relation")
    parser.add_argument("--top", type=int, default=5)
    args = parser.parse_args()

    # What all questions share is computed here, once: the states of everybody before the moment that is forecast.
    forecaster = tg.Forecaster.load(args.checkpoint)

    subject, relation = args.subject, args.relation
    if subject is None or relation is None:
        (expected,) = forecaster.top_facts(1)
        subject, relation = expected.subject, expected.relation

    forecast = forecaster.forecast(subject, relation, None, top=args.top)
    print(f"{forecast.time}: {subject}, {relation}, whom?")
    for candidate in forecast.to_dict()["candidates"]:
        print(f"{candidate['probability']:7.1%}  {candidate['name']:<24} {why(candidate['explanation'])}")


if __name__ == "__main__":
    try:
        main()
    except tg.TirgnError as error:  # its message says what was wrong and what to do
        raise SystemExit(f"error: {error}") from None
