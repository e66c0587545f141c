"""ProntoQA (Saparov & He 2022, arXiv 2210.01240), generated: what follows, in 1 to 5 deductions, of facts and rules
about fictional things.

An ontology is linear: ``Max is a yumpus. Every yumpus is a tumpus. Tumpuses are not red.`` Each concept has a property,
and each property is red or not, never red or blue. ``True or false: Max is not red.`` asks about one of them; to be
decided it needs as many deductions as the problem has hops.

Deviations from the paper, so that only deduction tells the answer: the distractor is not one rule but a second
ontology of the same shape with a member of its own, in which every property is the opposite one, and sentences come in
random order. The same question about the other member has the opposite answer; what a context says, how often it says
"not", or where, tells nothing. Hops, answers and negated questions are balanced in every 20 problems.
"""

from __future__ import annotations

import hashlib
import random
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, product

from sivgap.core.problem import Problem
from sivgap.grading.equal import AnswerComparer
from sivgap.grading.forms import Form
from sivgap.grading.grade import Grade
from sivgap.grading.truth import find_truth, grade_truths, unreadable_truth
from sivgap.tasks.source import Record, text_field
from sivgap.tasks.task import Task

HOPS = (1, 2, 3, 4, 5)
"""Deductions that a problem takes."""

CONCEPTS = (
    "brimpus", "dumpus", "gorpus", "grimpus", "impus", "jompus", "lempus", "lorpus", "numpus", "rompus", "shumpus",
    "sterpus", "tumpus", "vumpus", "wumpus", "yumpus", "zumpus",
)  # fmt: skip
PROPERTIES = (
    ("blue", "red", "brown", "orange"), ("small", "large"), ("metallic", "wooden", "luminous", "liquid"),
    ("transparent", "opaque"), ("nervous", "happy", "feisty", "shy"), ("bright", "dull"),
    ("sweet", "sour", "spicy", "bitter"), ("floral", "fruity", "earthy"), ("hot", "cold", "temperate"),
    ("kind", "mean", "angry", "amenable", "aggressive"),
)  # fmt: skip
"""One of a group at most is in a problem, since red things are not blue."""
NAMES = ("Alex", "Fae", "Max", "Polly", "Rex", "Sally", "Sam", "Stella", "Wren")

_HELD_OUT = 5
"""One problem in so many, by its hash, is held out."""


@dataclass(frozen=True)
class Ontology:
    """A linear ontology in sentences (without full stops): `fact` says which of the `concepts` its member is, the
    lowest; ``links[i]`` that these are of the next, ``rules[i]`` that they are as ``predicates[i]`` says."""

    name: str
    concepts: list[str]
    predicates: list[str]
    fact: str
    links: list[str]
    rules: list[str]

    @property
    def sentences(self) -> list[str]:
        return [self.fact, *self.links, *self.rules]

    def deduce(self, hops: int) -> list[str]:
        """The fact, and a sentence for each deduction up to the property of concept `hops`."""
        steps = zip(self.links, self.concepts[1:hops], strict=False)
        climbed = [f"{link}, so {self.name} is {_with_article(concept)}" for link, concept in steps]
        return [self.fact, *climbed, f"{self.rules[hops - 1]}, so {self.name} is {self.predicates[hops - 1]}"]


def part_of(question: str) -> str:
    """``train`` (80 %) or ``test`` (20 %): a fixed function of the question's text."""
    return "test" if zlib.crc32(question.encode()) % _HELD_OUT == 0 else "train"


def generate(count: int, part: str, seed: int, hops: Sequence[int] = HOPS) -> list[Problem]:
    """`count` distinct problems of one part; with a smaller count the first of them."""
    rng = random.Random(f"prontoqa {part} {seed}")  # noqa: S311 - problems, not secrets
    problems: dict[str, Problem] = {}
    while len(problems) < count:
        kinds = list(product(hops, (False, True), (False, True)))
        rng.shuffle(kinds)
        for deductions, negated, answer in kinds:
            question, solution = _draw(rng, deductions, negated, answer)
            while part_of(question) != part or question in problems:
                question, solution = _draw(rng, deductions, negated, answer)
            identity = f"{part}/{deductions}-hop/{hashlib.sha256(question.encode()).hexdigest()[:12]}"
            problems[question] = Problem(identity, question, str(answer), solution)
    return list(problems.values())[:count]


def _draw(rng: random.Random, hops: int, negated: bool, answer: bool) -> tuple[str, str]:
    """A random question of a kind, and its worked solution."""
    size = hops + 1  # concepts go on above the one whose property is asked about
    concepts, names = rng.sample(CONCEPTS, 2 * size), rng.sample(NAMES, 2)
    properties = [rng.choice(group) for group in rng.sample(PROPERTIES, size)]
    holds = [rng.random() < 0.5 for _ in properties]
    holds[hops - 1] = answer != negated
    asked = _ontology(rng, names[0], concepts[:size], list(map(_predicate, properties, holds)))
    other = _ontology(
        rng, names[1], concepts[size:], [_predicate(p, not h) for p, h in zip(properties, holds, strict=True)]
    )
    context = asked.sentences + other.sentences
    rng.shuffle(context)
    query = f"True or false: {names[0]} is {_predicate(properties[hops - 1], not negated)}."
    solution = [*asked.deduce(hops), f"The answer is {answer}"]
    return f"{_text(context)}\n{query}", _text(solution)


def _ontology(rng: random.Random, name: str, concepts: list[str], predicates: list[str]) -> Ontology:
    links = [_rule(rng, low, _with_article(high), f"{high}es") for low, high in pairwise(concepts)]
    rules = [_rule(rng, concept, said, said) for concept, said in zip(concepts, predicates, strict=True)]
    return Ontology(name, concepts, predicates, f"{name} is {_with_article(concepts[0])}", links, rules)


def _rule(rng: random.Random, concept: str, singular: str, plural: str) -> str:
    """What is said of each of a concept, in one of three ways."""
    said = (f"Every {concept} is {singular}", f"Each {concept} is {singular}", f"{concept.capitalize()}es are {plural}")
    return rng.choice(said)


def _predicate(word: str, holds: bool) -> str:
    return word if holds else f"not {word}"


def _with_article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def _text(sentences: Sequence[str]) -> str:
    return " ".join(f"{sentence}." for sentence in sentences)


def to_problem(record: Record) -> Problem:
    """A record with ``question``, facts and rules included, and ``answer``, True or False as a text or in JSON."""
    answer = record.get("answer", record.get("reference"))
    said = str(answer) if isinstance(answer, bool) else text_field(record, "answer", "reference")
    truth = find_truth(said)[0]
    if truth is None:
        raise ValueError(f"field 'answer': {unreadable_truth(said)}")
    solution = text_field(record, "solution") if record.get("solution") else None
    return Problem(str(record.get("id", "")), text_field(record, "question").strip(), str(truth), solution)


class Prontoqa(Task):
    """Answers are True or False."""

    form = "answer_sentence"
    sizes = (2048, 512)

    def read(self, record: Record) -> Problem:
        return to_problem(record)

    def generate(self, part: str, count: int | None, seed: int) -> list[Problem]:
        return generate(count or 0, part, seed)

    def grade(
        self, responses: Sequence[str], references: Sequence[str], comparer: AnswerComparer, forms: Sequence[Form]
    ) -> list[Grade]:
        return grade_truths(responses, references, forms)

    def unreadable(self, reference: str) -> str | None:
        return unreadable_truth(reference)
