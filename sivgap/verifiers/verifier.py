"""Verifiers: what scores responses between 0 and 1. `make_verifier` builds any of them from its configuration.

Most are a question (a prompt file), the answers it allows with the value of each (its YAML), and a parser of what a
judge says, made from the same YAML (`sivgap.verifiers.parse`). The judge is the solver's own weights, or with
``verifier.model.path`` another model's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle

import numpy as np

from sivgap.config.locate import read_prompt
from sivgap.config.members import member_config
from sivgap.config.verifier import VERIFIERS, VerifierConfig
from sivgap.core.rollout import FollowUp, Rollouts
from sivgap.core.verification import Judge, Scores, Verifier, neutral
from sivgap.models.prompts import PromptWriter, is_follow_up
from sivgap.registry import is_own, own_code
from sivgap.verifiers.context import VerifierContext
from sivgap.verifiers.ensemble import Ensemble
from sivgap.verifiers.gold import Gold
from sivgap.verifiers.judge import ModelJudge, expected_value, verdict_stream
from sivgap.verifiers.one_by_one import OneByOne
from sivgap.verifiers.own import Checked
from sivgap.verifiers.parse import Parser, verdict_parser
from sivgap.verifiers.tournament import Tournament

Remember = Callable[[VerifierConfig, ModelJudge], Judge]
"""Puts a memory before the judge of a verifier."""


def make_verifier(
    config: VerifierConfig, context: VerifierContext, remember: Remember = lambda config, judge: judge
) -> Verifier:
    """The verifier of a configuration.

    Raises:
        RunError: If two allowed answers cannot be told apart by their tokens.
    """
    if config.name == "gold":
        return Gold(
            context.dataset,
            context.comparer,
            config.tpr,
            config.fpr,
            config.errors,
            context.seed,
        )
    if config.name == "ensemble":
        members: dict[str, tuple[Verifier, float]] = {
            name: (
                make_verifier(member_config(config, name, context.dataset), context, remember),
                threshold,
            )
            for name, threshold in zip(config.members, cycle(config.accept), strict=False)
        }
        return Ensemble(members, config.combine == "mean")
    if not config.asks:
        return _by_name(config, context)
    judge = remember(config, make_judge(config, context))
    if config.name == "tournament":
        swiss = config.pairing == "swiss"
        return Tournament(judge, config.rounds, config.both_orders, swiss, config.repetitions)
    return OneByOne(judge, config.repetitions)


def _by_name(config: VerifierConfig, context: VerifierContext) -> Verifier:
    """One that asks nobody, or the user's own: ``Name(bench, **settings)``."""
    make = VERIFIERS.find(config.name)
    if not is_own(config.name):
        return make(context)  # type: ignore[no-any-return]
    with own_code(f"verifier={config.name}"):
        return Checked(make(context, **(config.settings or {})), config.name)


def make_judge(config: VerifierConfig, context: VerifierContext) -> ModelJudge:
    """The model behind `context`, asked the question of `config`."""
    template = read_prompt(config.prompt)
    judge = ModelJudge(
        context.engine,
        context.writer,
        config,
        template,
        verdict_parser(config),
        context.temperature,
        context.top_p,
        context.own,
        context.end_token,
    )
    if config.readout == "expected":
        judge.allowed(judge.lead)
    return judge


@dataclass(frozen=True)
class FusedVerifier:
    """A verifier whose question the engine answers in the pass that samples, from each response's cache.

    Open to questions that go on the conversation and are put once to the solver itself; scores are as if asked anew.
    """

    ask: FollowUp
    config: VerifierConfig
    parse: Parser
    writer: PromptWriter

    def read(self, rollouts: Rollouts) -> Scores:
        """Scores of rollouts that were sampled with `ask` as follow-up."""
        if rollouts.answer_logprobs is not None:
            values = expected_value(rollouts.answer_logprobs, self.config)
            return Scores(values, np.zeros(values.shape))
        values, unparsed = neutral([self.parse(text) for text in self.said(rollouts)])
        shape = rollouts.nll.shape
        return Scores(values.reshape(shape), unparsed.astype(np.float64).reshape(shape))

    def said(self, rollouts: Rollouts) -> list[str]:
        """What was sampled as verdict on each response; empty texts where likelihoods were read."""
        return self.writer.decode(rollouts.verdicts) if rollouts.verdicts is not None else [""] * rollouts.nll.size


def in_pass(config: VerifierConfig, context: VerifierContext) -> FusedVerifier | None:
    """The verifier of `config` as a follow-up of sampling, where it can be one."""
    single = config.asks and config.name != "tournament" and config.repetitions == 1
    expected = config.readout == "expected"
    if not single or not context.own or (expected and config.heading is not None):
        return None
    judge = make_judge(config, context)
    if not is_follow_up(judge.template):
        return None
    ask = FollowUp(
        tokens=context.writer.follow_up(judge.template),
        temperature=context.temperature,
        top_p=context.top_p,
        max_new_tokens=config.max_new_tokens,
        answers=judge.allowed(judge.lead) if expected else (),
        stream=verdict_stream(config.name),
    )
    return FusedVerifier(ask, config, judge.parse, context.writer)
