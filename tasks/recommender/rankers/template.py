"""How a question about a user and an item is worded: YAML for people, a frozen dataclass for code.

A prompt is made of lines, each left out where it is empty:

    instruction

    liked        one worked example, where there are any
    disliked
    item
    question
    answer

    liked        the question itself, up to where its answer belongs
    …
"""

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field, TypeAdapter, ValidationError

from tasks.errors import ModelError
from tasks.knobs import STRICT

Answer = Annotated[str, Field(min_length=1, pattern=r"^\S(.*\S)?$")]
"""A word or a few; what stands between it and the text before is the template's."""


@dataclass(frozen=True)
class Template:
    """The words of one kind of question."""

    __pydantic_config__ = STRICT
    liked: str
    """The line of what the user liked; `{titles}` are the titles, oldest first."""
    disliked: str
    """The same of what the user disliked."""
    item: str
    """The candidate; `{title}` is its title."""
    answer: str
    """`{answer}` stands where the model answers. A space before it belongs to the answer."""
    positive: Annotated[tuple[Answer, ...], Field(min_length=1)]
    """Words that say the user will like it. Quote them: YAML reads Yes as true."""
    negative: Annotated[tuple[Answer, ...], Field(min_length=1)]
    """Words that say the user will not."""
    instruction: str = ""
    """Said once, before all."""
    question: str = ""
    """Asked of the item."""
    separator: str = "; "
    """Between two titles."""

    def __post_init__(self) -> None:
        for line, place in _PLACES.items():
            found = getattr(self, line).count(place)
            if found != 1:
                raise ValueError(
                    f"{line} must name {place} once, and names it {found} times: "
                    f"{getattr(self, line)!r}"
                )

    def around_answer(self) -> tuple[str, str, str]:
        """The answer's line before it, the space that belongs to the answer, and what follows."""
        before, after = self.answer.split("{answer}")
        kept = before.rstrip()
        return kept, before[len(kept) :], after

    @property
    def asked(self) -> str:
        """All that follows the item, up to where the answer belongs."""
        before, _, _ = self.around_answer()
        return f"{self.question}\n{before}" if self.question else before

    def answered(self, word: str) -> str:
        """What a worked example adds to `asked`."""
        _, space, after = self.around_answer()
        return f"{space}{word}{after}"


_PLACES = {"item": "{title}", "liked": "{titles}", "disliked": "{titles}", "answer": "{answer}"}


def load_template(name: str) -> Template:
    """The packaged template `name` (movie, news, book), or that in the YAML file at path `name`.

    Raises:
        ModelError: there is none, or the file is no template; all that is wrong is named at once.
    """
    packaged = files("tasks.recommender.rankers") / "templates"
    names = sorted(entry.name.removesuffix(".yaml") for entry in packaged.iterdir())
    if name in names:
        return parse_template((packaged / f"{name}.yaml").read_text("utf-8"), name)
    try:
        return parse_template(Path(name).read_text("utf-8"), name)
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(
            f"There is no template {name!r}: {error}. Name one of {', '.join(names)}, or the path "
            "of a YAML file in `ranker.template`."
        ) from error


def parse_template(text: str, name: str) -> Template:
    """The template that YAML `text` describes; `name` is what errors call it.

    Raises:
        ModelError: it is no YAML, or breaks a rule.
    """
    try:
        return template_of(yaml.safe_load(text))
    except (yaml.YAMLError, ValueError) as error:
        raise ModelError(
            f"Template {name} is not one: {_problems(error)}. "
            "Compare it with the packaged ones in tasks/recommender/rankers/templates."
        ) from error


def template_of(values: Any) -> Template:
    """The template of some parsed values.

    Raises:
        ValueError: they break a rule.
    """
    return TypeAdapter(Template).validate_python(values)


def _problems(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return " ".join(str(error).split())
    problems = []
    for problem in error.errors():
        place = ".".join(str(part) for part in problem["loc"])
        hint = " (quote it)" if isinstance(problem["input"], bool) else ""
        problems.append(f"{place}: {problem['msg']}{hint}" if place else problem["msg"])
    return "; ".join(problems)
