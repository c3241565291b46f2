"""The documents: their links, excerpts of code and commands fit the repository."""

import ast
import json
import re
import shlex
import textwrap
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from dvc.cli import DvcParserError
from dvc.cli.parser import get_main_parser
from dvc.exceptions import InvalidArgumentError
from dvc.utils.hydra import apply_overrides, get_hydra_sweeps  # what dvc exp run calls
from PIL import Image

from vae.base.params import ParamsError, load_params
from vae.base.yaml12 import parse_yaml
from vae.data.preparation import Preparation
from vae.diagnostics import (
    blur,
    classification,
    collapse,
    holes,
    inference_gap,
    representation,
    sample_quality,
    verdict,
)
from vae.model.architecture import Architecture
from vae.model.model_file import Origin, save_model
from vae.model.vae import VAE

ROOT = Path(__file__).parents[1]
TUTORIAL = ROOT / "docs/tutorial.md"
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
EVERY_DOCUMENT = pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())

FENCE = re.compile(r" {0,3}(```+|~~~+) *(\w*)")
LIST_ITEM = re.compile(r" {0,3}([-*+]|\d+\.) ")
SPAN = re.compile(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", re.DOTALL)
TARGET = re.compile(r"\]\(\s*<?([^\s()<>]+)>?(?:\s+[\"'][^)]*)?\s*\)")
REFERENCE = re.compile(r"^ {0,3}\[[^\]]+\]:\s+<?(\S+?)>?(?:\s|$)", re.MULTILINE)
HTML_TARGET = re.compile(r"<(?:a|img)\s[^>]*?(?:href|src)=\"([^\"]+)\"")
LINK_OF_CODE = re.compile(r"\[`([^`]+)`\]\(([^\s()#]+\.py)(?:#[^\s()]*)?\)")
HEADING = re.compile(r"^ {0,3}#{1,6}\s+(.+?)\s*#*$", re.MULTILINE)

OPTION = re.compile(r"(?<!\S)(?:-S[ \n]*|--set-param[=\s]\s*)[\"']?([a-z][\w.]*)=")  # KEY=VALUE is none
VARIABLE = re.compile(r"^\s*([A-Z_]+)=\"([^\"]*)\"", re.MULTILINE)
DEFAULT = re.compile(r"^\| `([a-z]+\.[a-z_]+)` \| ([^|]+) \|", re.MULTILINE)  # a row of the table of parameters
END_OF_COMMAND = {"&&", "||", ";", "|", "&", ">", ">>"}


@dataclass(frozen=True)
class Block:
    """A block of code: its language, if it says one, its text, and the paragraph before it."""

    language: str
    code: str
    before: str


@dataclass(frozen=True)
class Document:
    """A Markdown file, with blocks of code apart from the prose."""

    prose: str
    blocks: tuple[Block, ...]

    @property
    def spans(self) -> list[str]:
        """Code within the prose, each span on one line."""
        paragraphs = re.split(r"\n\s*\n", self.prose)
        return [" ".join(match[2].split()) for paragraph in paragraphs for match in SPAN.finditer(paragraph)]

    @property
    def without_code(self) -> str:
        """The prose, with an x for each letter of code in it."""
        return SPAN.sub(lambda match: re.sub(r"\S", "x", match[0]), self.prose)

    @property
    def code(self) -> list[str]:
        """All code, by the block and by the span."""
        return [*(block.code for block in self.blocks), *self.spans]


def parse(text: str) -> Document:
    """Split a document into prose and blocks of code, fenced or indented by four columns after an empty line."""
    prose: list[str] = []
    blocks: list[Block] = []
    code: list[str] = []
    fence = language = ""
    in_list = False

    def end_block() -> None:
        paragraph = re.split(r"\n\s*\n", "\n".join(prose).rstrip())[-1]
        blocks.append(Block(language, textwrap.dedent("\n".join(code)).strip("\n"), paragraph))
        code.clear()

    for line in text.splitlines():
        if fence:
            if line.strip().startswith(fence):
                end_block()
                fence = language = ""
            else:
                code.append(line)
        elif code and (line.startswith("    ") or not line.strip()):
            code.append(line)
        else:
            if code:
                end_block()
                prose.append("")
            if opening := FENCE.match(line):
                fence, language = opening[1], opening[2]
            elif line.startswith("    ") and not in_list and (not prose or not prose[-1].strip()):
                code.append(line)
            else:
                prose.append(line)
                if line.strip() and not line.startswith(" " * 2):
                    in_list = LIST_ITEM.match(line) is not None
    if code:
        end_block()
    return Document("\n".join(prose), tuple(blocks))


@cache
def document(path: Path) -> Document:
    """A document of the repository."""
    return parse(path.read_text(encoding="utf-8"))


def anchors(text: Document) -> set[str]:
    """The anchors that GitHub gives to the headings of a document."""
    found: set[str] = set()
    seen: Counter[str] = Counter()
    for heading in HEADING.findall(text.prose):
        words = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
        slug = re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")
        found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return found


def relative_targets(text: Document) -> Iterator[str]:
    """What the links and pictures of a document lead to, but for addresses on the web."""
    for pattern in (TARGET, REFERENCE, HTML_TARGET):
        for target in pattern.findall(text.without_code):
            if not re.match(r"[a-z][a-z+.-]*:", target):
                yield target


def dead_links(path: Path, text: Document) -> list[str]:
    """The relative links that lead to no file of the repository, or to no heading of a document."""
    dead = []
    for target in relative_targets(text):
        name, _, anchor = target.partition("#")
        file = (path.parent / unquote(name)).resolve() if name else path
        if name and not (file.exists() and file.is_relative_to(ROOT)):
            dead.append(f"{target}: no such file in the repository")
        elif anchor and file.suffix == ".md":
            headings = anchors(document(file) if name else text)
            if unquote(anchor) not in headings:
                dead.append(f"{target}: no such heading in {file.relative_to(ROOT)}")
    return dead


@cache
def definitions(file: Path) -> set[str]:
    """What a module defines: functions, classes and constants; methods and attributes of classes as ``Class.name``."""

    def names(body: list[ast.stmt], prefix: str) -> Iterator[str]:
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                yield prefix + node.name
            if isinstance(node, ast.ClassDef):
                yield from names(node.body, f"{prefix}{node.name}.")
            if isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                for target in targets:
                    yield from (prefix + name.id for name in ast.walk(target) if isinstance(name, ast.Name))

    return set(names(ast.parse(file.read_text(encoding="utf-8")).body, ""))


def undefined_names(path: Path, text: Document) -> list[str]:
    """The links to Python files whose text is code that names nothing in the file.

    A name may be preceded by that of the module, such as ``inference.encode``; a text that ends in ``.py`` is the name
    of the file itself.
    """
    undefined = []
    for code, target in LINK_OF_CODE.findall(text.prose):
        file = (path.parent / target).resolve()
        if not file.is_file() or not file.is_relative_to(ROOT):
            continue  # a dead link, which another test reports
        within = file.relative_to(ROOT)
        module = ".".join(within.with_suffix("").parts)
        name = code.removesuffix("()")
        known = {f"{prefix}{each}" for each in definitions(file) for prefix in ("", f"{file.stem}.", f"{module}.")}
        is_the_file = name == module or (name.endswith(".py") and within.as_posix().endswith(name))
        if not is_the_file and name not in known:
            undefined.append(f"[`{code}`]({target}): {within} defines no such name")
    return undefined


def differing_excerpts(path: Path, text: Document) -> list[str]:
    """The Python excerpts that are not in the file that the paragraph before them links last."""
    differing = []
    for block in text.blocks:
        if block.language not in {"python", "py"}:
            continue
        first_line = block.code.partition("\n")[0]
        sources = [target for target in TARGET.findall(block.before) if target.partition("#")[0].endswith(".py")]
        if not sources:
            differing.append(f"{first_line!r}: the paragraph before it links no Python file")
        elif not is_excerpt(block.code, path.parent / sources[-1].partition("#")[0]):
            differing.append(f"{first_line!r} …: {sources[-1]} has no such lines")
    return differing


def is_excerpt(code: str, file: Path) -> bool:
    """Whether a file has these lines one after another, at whatever depth of indentation."""
    excerpt = code.splitlines()
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    return any(
        textwrap.dedent("\n".join(lines[start : start + len(excerpt)])).splitlines() == excerpt
        for start in range(len(lines) - len(excerpt) + 1)
    )


def command_lines(text: Document) -> list[str]:
    """The lines of all code, those that end in a backslash joined with the next."""
    return [line.strip() for code in text.code for line in re.sub(r"\\\n\s*", "", code).splitlines()]


def words_of(command: str) -> list[str]:
    """The words of the first command of a line, as a shell splits them, without a comment."""
    words = []
    for word in shlex.split(command, comments=True):
        if word in END_OF_COMMAND:
            break
        words.append(word.removesuffix(";"))
        if word.endswith(";"):
            break
    return words


def expanded(command: str, variables: dict[str, str]) -> str:
    """A command with recipes and variables in the place of ``$(cat recipes/NAME)`` and ``$NAME``.

    Raises:
        ValueError: there is no such recipe, or the document gives the variable no value.
    """

    def recipe(match: re.Match[str]) -> str:
        file = ROOT / match[1]
        if not file.is_file():
            raise ValueError(f"no such recipe: {match[1]}")
        return " ".join(file.read_text(encoding="utf-8").split())

    def variable(match: re.Match[str]) -> str:
        if match[1] not in variables:
            raise ValueError(f"the document gives ${match[1]} no value")
        return " ".join(variables[match[1]].split())

    return re.sub(r"\$\{?([A-Za-z_]\w*)\}?", variable, re.sub(r"\$\(cat ([\w./-]+)\)", recipe, command))


def unknown_parameters(text: Document) -> list[str]:
    """The parameters that the options of a document name and ``params.yaml`` has not."""
    sections: dict[str, dict[str, object]] = parse_yaml((ROOT / "params.yaml").read_bytes())
    known = {f"{section}.{key}" for section, values in sections.items() for key in values}
    return [name for code in text.code for name in OPTION.findall(code) if name not in known]


def wrong_experiments(text: Document, params: Path) -> list[str]:
    """The ``dvc exp run`` commands that DVC refuses, or whose parameters are not valid together."""
    stages = parse_yaml((ROOT / "dvc.yaml").read_bytes())["stages"]
    variables = {name: value for block in text.blocks for name, value in VARIABLE.findall(block.code)}
    wrong = []
    for line in command_lines(text):
        _, found, rest = line.partition("dvc exp run")
        if not found:
            continue
        try:
            arguments = get_main_parser().parse_args(["exp", "run", *words_of(expanded(rest, variables))])
            if unknown := set(arguments.targets) - set(stages):
                raise ValueError(f"no such stage: {', '.join(sorted(unknown))}")
            sweep = get_hydra_sweeps({"params.yaml": [value for value in arguments.set_param if "…" not in value]})
            if len(sweep) > 1 and not arguments.queue:
                raise ValueError("several values of a parameter need --queue")
            for values in sweep:
                params.write_bytes((ROOT / "params.yaml").read_bytes())
                apply_overrides(params, values["params.yaml"])
                load_params(params)
        except (ValueError, ParamsError, InvalidArgumentError, DvcParserError) as error:
            reason = error.__cause__ if isinstance(error, InvalidArgumentError) else error
            wrong.append(f"{line}: {reason}")
    return wrong


def unknown_targets(text: Document) -> list[str]:
    """The targets that ``make`` commands of a document name and the Makefile has not."""
    known = set(re.findall(r"^([a-z][a-z-]*):(?!=)", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    unknown = []
    for line in command_lines(text):
        for command in re.split(r"\s*(?:&&|;)\s*", line):
            if re.match(r"(\$ )?make( |$)", command):
                words = words_of(command.removeprefix("$ "))[1:]
                unknown += [word for word in words if re.fullmatch(r"[a-z][\w-]*", word) and word not in known]
    return unknown


def require_none(problems: list[str]) -> None:
    """Fail with all problems, a line each."""
    assert not problems, "\n" + "\n".join(problems)


@EVERY_DOCUMENT
def test_each_relative_link_leads_to_an_existing_file_and_each_anchor_to_a_heading(path: Path) -> None:
    require_none(dead_links(path, document(path)))


@EVERY_DOCUMENT
def test_each_link_of_a_name_to_a_python_file_leads_to_a_file_that_defines_the_name(path: Path) -> None:
    require_none(undefined_names(path, document(path)))


def test_each_python_excerpt_in_the_tutorial_is_literally_in_the_file_linked_before_it() -> None:
    assert any(block.language == "python" for block in document(TUTORIAL).blocks)
    require_none(differing_excerpts(TUTORIAL, document(TUTORIAL)))


@EVERY_DOCUMENT
def test_each_parameter_that_a_document_sets_exists(path: Path) -> None:
    require_none(unknown_parameters(document(path)))


@EVERY_DOCUMENT
def test_each_experiment_in_a_document_is_a_command_that_dvc_takes_with_valid_parameters(
    path: Path, tmp_path: Path
) -> None:
    require_none(wrong_experiments(document(path), tmp_path / "params.yaml"))


@EVERY_DOCUMENT
def test_each_make_target_in_a_document_exists(path: Path) -> None:
    require_none(unknown_targets(document(path)))


def test_each_numbered_section_of_the_tutorial_has_an_equation_a_link_to_the_code_and_an_experiment_to_try() -> None:
    sections = re.split(r"^## ", TUTORIAL.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    numbered = [section for section in sections if re.match(r"\d+\. ", section)]
    assert numbered
    for section in numbered:
        title, _, body = section.partition("\n")
        assert "$$" in body, f"{title}: no equation"
        assert "dvc exp run" in body, f"{title}: nothing to try"
        assert LINK_OF_CODE.search(body), f"{title}: no link to the code"


MISTAKEN = """\
# A heading

[gone](gone.md), [outside](../elsewhere.md), [no heading](README.md#no-such-heading), [nor here](#b), [here](#a-heading)
and [a picture](docs/gone.png), but not `[code](gone.txt)`.

[`kl_divergence`](vae/model/objective.py), [`VAE.posterior`](vae/model/vae.py) and [`PERPLEXITY`](
vae/diagnostics/projection.py) exist; [`kl_convergence`](vae/model/objective.py) and [`VAE.prior`](vae/model/vae.py)
do not.

The same as [`kl_divergence`](vae/model/objective.py):

```python
return 0.5 * (mean.square() + torch.exp(log_variance) - 1 - log_variance)
```

    MNIST="-S prepare.dataset=mnist"
    dvc exp run --name fine $MNIST -S train.epochs=3 \\
        -S 'model.hidden_dims=[64,32]'   # a comment
    dvc exp run $MNIST -S train.epoch=3
    dvc exp run $(cat recipes/mnist) -S train.beta=-1.0
    dvc exp run $(cat recipes/emnist)
    dvc exp run $EMNIST
    dvc exp run -S model.latent_dim=2,20
    dvc exp run --queue -S model.latent_dim=2,0
    dvc exp run evaluate embed evaluation
    dvc exp run --nome typo
    make lint tests BASE=main && make repro

`dvc exp run -S
model.likelihood=poisson`, `make everything`, and with `-S train.bta=2`.
"""


def test_each_kind_of_mistake_in_a_document_is_found(tmp_path: Path) -> None:
    """The checks above would otherwise pass where they read nothing."""
    path, text = ROOT / "mistaken.md", parse(MISTAKEN)
    dead = [problem.partition(":")[0] for problem in dead_links(path, text)]
    assert dead == ["gone.md", "../elsewhere.md", "README.md#no-such-heading", "#b", "docs/gone.png"]
    names = [problem.partition("]")[0] for problem in undefined_names(path, text)]
    assert names == ["[`kl_convergence`", "[`VAE.prior`"]
    assert len(differing_excerpts(path, text)) == 1
    assert unknown_parameters(text) == ["train.epoch", "train.bta"]
    wrong = [problem.partition(": ")[0] for problem in wrong_experiments(text, tmp_path / "params.yaml")]
    assert wrong == [
        "dvc exp run $MNIST -S train.epoch=3",
        "dvc exp run $(cat recipes/mnist) -S train.beta=-1.0",
        "dvc exp run $(cat recipes/emnist)",
        "dvc exp run $EMNIST",
        "dvc exp run -S model.latent_dim=2,20",
        "dvc exp run --queue -S model.latent_dim=2,0",
        "dvc exp run evaluate embed evaluation",
        "dvc exp run --nome typo",
        "dvc exp run -S model.likelihood=poisson",
    ]
    assert unknown_targets(text) == ["tests", "everything"]


def test_the_figures_of_the_default_run_in_the_readme_are_those_of_the_committed_metrics() -> None:
    def metrics(stage: str) -> Any:
        return json.loads((ROOT / f"metrics/{stage}.json").read_bytes())

    evaluate, generate, embed = metrics("evaluate"), metrics("generate"), metrics("embed")
    test, params = evaluate["test"], load_params(ROOT / "params.yaml")
    expected = [
        f"kept the weights of epoch {metrics('train')['best_epoch']}",
        f"{test['negative_elbo']:.2f} = {test['reconstruction']:.2f} + {test['kl']:.2f}",
        f"| importance-weighted bound, k = 100 | {test['negative_iwae_bound']:.2f} |",
        f"| active units | {evaluate['active_units']} of {params.model.latent_dim} |",
        f"| precision, recall of samples | {generate['precision']:.2f}, {generate['recall']:.2f} |",
        f"| nearest-neighbour accuracy of codes | {embed['neighbour_accuracy']:.3f} |",
    ]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    require_none([text for text in expected if text not in readme])


def test_the_defaults_in_the_table_of_parameters_are_those_of_params_yaml() -> None:
    text = (ROOT / "docs/parameters.md").read_text(encoding="utf-8")
    found = {key: parse_yaml(value.strip().strip("`")) for key, value in DEFAULT.findall(text)}
    parameters = parse_yaml((ROOT / "params.yaml").read_bytes())
    assert found == {
        f"{section}.{key}": value for section, values in parameters.items() for key, value in values.items()
    }


def test_the_thresholds_in_the_table_of_verdicts_are_those_of_the_code() -> None:
    warning, failure = (f"{nats:g} nats" for nats in verdict.NATS_BETWEEN_MODELS)
    shares = {name: [f"{limit:.0%}" for limit in limits] for name, limits in sample_quality.SHARES.items()}
    expected = {
        "posterior collapse": [f"{collapse.LEAST_INFORMATION:.2f} nats"],
        "blur of reconstructions, blur of samples": [
            f"{limit:.0%}" for limit in (*blur.RELATIVE_SHARPNESS, blur.MOST_SHARPNESS)
        ],
        "overfitting": [warning, failure],
        "training length": [warning, failure],
        "inference gap": [
            f"{limit:.0%}" for limit in (inference_gap.WARNING_INFERENCE_GAP, inference_gap.FAILURE_INFERENCE_GAP)
        ],
        "sample quality": [
            *map(str, sample_quality.FRECHET_EXCESS),
            *(each for pair in shares.values() for each in pair),
        ],
        "classes of samples": [
            f"{limit:.0%}"
            for limit in (*classification.EXCESS, *classification.BALANCE, classification.LOWEST_ACCURACY)
        ],
        "holes in the latent space": [
            *(f"{limit:.0%}" for limit in holes.SPOILT),
            *(f"= {limit:.2f} nats" for limit in holes.MARGINAL_KL),
        ],
        "representation": [f"{limit:.0%}" for limit in representation.ACCURACY_ABOVE_CHANCE],
    }
    lines = (ROOT / "docs/diagnostics.md").read_text(encoding="utf-8").splitlines()
    rows = {line.split(" | ")[0].removeprefix("| "): line for line in lines if "judge_" in line}
    assert set(rows) == set(expected)
    require_none([f"{name}: {text}" for name, texts in expected.items() for text in texts if text not in rows[name]])


def test_the_code_of_the_document_on_use_runs_as_written_with_results_of_the_shapes_that_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    default = load_params(ROOT / "params.yaml")
    network = VAE(Architecture(image_shape=(1, 8, 8), **default.model.model_dump()))
    origin = Origin(preparation=Preparation.of(default.prepare), training_images="0123abcd")
    save_model(tmp_path / "models/vae.safetensors", network, origin)
    monkeypatch.chdir(tmp_path)
    (block,) = (block for block in document(ROOT / "docs/use.md").blocks if block.language == "python")
    found: dict[str, Any] = {}
    exec(block.code, found)
    for line in block.code.splitlines():
        if said := re.match(r"(\w+) = .*# ([\d×]+)(?=[: ])", line):
            assert "×".join(map(str, found[said[1]].shape)) == said[2], line
    assert len(block.code.strip().splitlines()) <= 10 + block.code.count("\n\n")


def test_the_letters_of_the_document_on_own_images_are_drawn_as_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    own_images = document(ROOT / "docs/own-images.md")
    scripts = [block.code for block in own_images.blocks if block.language == "python"]
    exec(next(script for script in scripts if "matplotlib" in script), {})
    files = list(tmp_path.glob("letters/*/*.png"))
    widths, heights = set(), set()
    for file in files:
        with Image.open(file) as image:
            widths.add(image.width)
            heights.add(image.height)
    words = " ".join(own_images.prose.split())
    assert f"{min(widths)} to {max(widths)} pixels wide and {min(heights)} to {max(heights)} high" in words
    assert f"{len(files):,} images in {len({file.parent for file in files})} class folders" in words
