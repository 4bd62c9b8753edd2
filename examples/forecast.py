"""Ask a checkpoint by name: who is next, how probable it is, and what in the past speaks for it.

    python examples/forecast.py models/example/tirgn_best.npz
    python examples/forecast.py models/example/tirgn_best.npz --subject Meridia --relation Make_statement

Without a query, it takes the subject and relation of the fact that is most expected. An evidence model
(`tirgn train --model evidence`) names the very events that carry its forecast.
"""

import argparse

import tirgn_eqx as tg
from tirgn_eqx.forecast.states import EvidenceExplanation, HistoryExplanation


def why(explanation: EvidenceExplanation | HistoryExplanation | None) -> str:
    """What a forecast rests on, in a few words."""
    match explanation:
        case EvidenceExplanation(shares=shares):
            return ", ".join(f"{share.share:.0%} {share.relation or share.kind}" for share in shares)
        case HistoryExplanation(events=events, last=last, from_history=share) if events:
            return f"seen {events} times, last {last}; {share:.0%} from history"
        case _:
            return "never seen before"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("--subject")
    parser.add_argument("--relation")
    parser.add_argument("--top", type=int, default=5)
    args = parser.parse_args()

    # What all queries share is computed here, once: the states of all entities before the time that is forecast.
    forecaster = tg.Forecaster.load(args.checkpoint)

    subject, relation = args.subject, args.relation
    if subject is None or relation is None:
        (expected,) = forecaster.top_facts(1)
        subject, relation = expected.subject, expected.relation

    forecast = forecaster.forecast(subject, relation, None, top=args.top)
    print(f"{forecast.time}: {subject}, {relation}, whom?")
    for candidate in forecast.candidates:
        print(f"{candidate.probability:7.1%}  {candidate.name:<24} {why(candidate.explanation)}")


if __name__ == "__main__":
    try:
        main()
    except tg.TirgnError as error:  # its message says what was wrong and what to do
        raise SystemExit(f"error: {error}") from None
