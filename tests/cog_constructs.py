"""Ways to write a predictor's inputs: those Cog's static generator reads, and those it drops or refuses.

`HEADER` + a parameter + `FOOTER` is a whole file. A row of `ACCEPTED` has what its property must hold, a row of
`REFUSED` a part of the finding, a row of `WHOLE_FILES` the file, the line of its only finding and a part of it.
"""

from __future__ import annotations

HEADER = """\
from __future__ import annotations
import typing
from typing import Literal, Optional
from acestep.constants import STEPS
import cog
from cog import BasePredictor, Input, Path
from cog import Path as CogPath
import pathlib
NUMBER = 3
ALIAS = NUMBER
COMPUTED = 2 * 4
TWICE = 1
TWICE = 2
if NUMBER:
    CONDITIONAL = 5
WORDS = ["a", "b"]
PAIR = ("a", "b")
BARE_PAIR = "a", "b"
COMMENTED = [
    "a",  # first
    "b",
]
TEXT = "described"
SHARED = Input(default=1, description="d")
FLAG = True
class Predictor(BasePredictor):
    def predict(
        self,
"""
FIRST_PARAMETER_LINE = HEADER.count("\n") + 1
FOOTER = """
    ) -> Path:
        return Path("x")
"""

ACCEPTED = [
    ('x: int = Input(default=3, description="d"),', {"default": 3, "type": "integer"}),
    ('x: int = Input(default=-3, description="d"),', {"default": -3}),
    ('x: int = Input(default=1_000, description="d"),', {"default": 1000}),
    ('x: float = Input(default=1e-4, description="d"),', {"default": 1e-4, "type": "number"}),
    ('x: float = Input(default=30.0, description="d"),', {"default": 30}),
    ('x: int = Input(default=NUMBER, description="d"),', {"default": 3}),
    ('x: bool = Input(default=FLAG, description="d"),', {"default": True, "type": "boolean"}),
    ("x: int = Input(default=3, description=TEXT),", {"description": "described"}),
    ('x: str = Input(default="", description="""two\nlines"""),', {"description": "two\nlines"}),
    ("x: str = Input(default='Bb ♭', description=r\"\\d\"),", {"default": "Bb ♭", "description": "\\d"}),
    ('x: str = Input(default="b", choices=WORDS, description="d"),', {"allOf": [{"$ref": "#/components/schemas/x"}]}),
    ('x: str = Input(default="b", choices=PAIR, description="d"),', {"default": "b"}),
    ('x: str = Input(default="z", choices=WORDS + ["z"], description="d"),', {"default": "z"}),
    ('x: Optional[int] = Input(default=None, description="d"),', {"nullable": True, "default": None}),
    ('x: typing.Optional[int] = Input(default=None, description="d"),', {"nullable": True}),
    ('x: "Optional[int]" = Input(default=None, description="d"),', {"nullable": True}),
    ('x: None | Path = Input(default=None, description="d"),', {"type": "string", "format": "uri", "nullable": True}),
    ('x: str = Input(default="ab", regex=r"^a\\w$", description="d"),', {"pattern": "^a\\w$"}),
    ('x: int = Input(default=1, deprecated=True, description="d"),', {"deprecated": True}),
    ('x: str = Input(default="a", min_length=1, max_length=9, description="d"),', {"minLength": 1, "maxLength": 9}),
]

REFUSED = [
    # defaults
    ('x: int = Input(default=STEPS, description="d"),', "default= that is imported from acestep.constants"),
    ('x: int = Input(default=cog.X, description="d"),', "default= that is an attribute"),
    ('x: str = Input(default=WORDS[0], description="d"),', "default= that is a subscript"),
    ('x: int = Input(default=2 * 4, description="d"),', "default= that is an expression"),
    ('x: int = Input(default=COMPUTED, description="d"),', "default= that is an expression"),
    ('x: int = Input(default=ALIAS, description="d"),', "default= that is another name for NUMBER"),
    ('x: str = Input(default=f"a", description="d"),', "default= that is an f-string"),
    ('x: int = Input(default=int(3), description="d"),', "default= that is a call"),
    ('x: int = Input(default=(3), description="d"),', "default= that is in parentheses"),
    ('x: int = Input(default=- 1, description="d"),', "default= that is - 1, not a plain decimal number"),
    ('x: int = Input(default=0x10, description="d"),', "default= that is 0x10, not a plain decimal number"),
    ('x: int = Input(default=99999999999999999999, description="d"),', "does not fit in 64 bits"),
    ('x: int = Input(default=CONDITIONAL, description="d"),', "not assigned at the top level"),
    ('x: int = Input(default=TWICE, description="d"),', "default= that is assigned more than once"),
    ('x: int = Input(default=UNKNOWN, description="d"),', "default= that is not assigned in this file"),
    ('x: int = Input(3, description="d"),', "positional default"),
    ('x: int = Input(default_factory=int, description="d"),', "default_factory=, which is no keyword"),
    ('x: int = Input(**WORDS, description="d"),', "**=, which is no keyword"),
    ('x: int = Input(default=None, description="d"),', "default=None without Optional[...]"),
    ('x: Path = Input(default=None, description="d"),', "default=None without Optional[...]"),
    ('x: int = Input(default=9, le=8, description="d"),', "default 9, which is above the maximum of 8"),
    ('x: float = Input(default=-0.5, ge=0, description="d"),', "default -0.5, which is below the minimum of 0"),
    ('x: str = Input(default="abc", max_length=2, description="d"),', "above the maximum of 2 characters"),
    ('x: str = Input(default="", min_length=1, description="d"),', "below the minimum of 1 characters"),
    ('x: str = Input(default="z", choices=["a"], description="d"),', "default 'z', which is not one of a"),
    ('x: int = Input(default=1.5, description="d"),', "default 1.5, which is no int"),
    ('x: int = Input(default=True, description="d"),', "default True, which is no int"),
    ('x: bool = Input(default=1, description="d"),', "default 1, which is no bool"),
    ('x: Optional[Path] = Input(default="a.wav", description="d"),', "is a Path with a default"),
    # strings
    ('x: str = Input(default="a\\n", description="d"),', "default= that has a backslash"),
    ('x: str = Input(default="", description="say \\"hi\\""),', "description= that has a backslash"),
    ('x: str = Input(default="", description="a " "b"),', "description= that joins several strings"),
    ('x: str = Input(default="", description=("a " "b")),', "description= that is in parentheses"),
    ('x: str = Input(default="", description="a" + "b"),', "description= that is an expression"),
    ('x: str = Input(default="", description=f"a{1}"),', "description= that is an f-string"),
    ('x: str = Input(default="", description=u"a"),', "description= that has a prefix"),
    ('x: str = Input(default="", description=NUMBER),', "description= that is not a string"),
    ('x: str = Input(default=""),', "input 'x' has no description"),
    ('x: str = Input(default="", description=""),', "input 'x' has no description"),
    ('x: str = Input(default="", regex=TEXT, description="d"),', "regex= that is not a literal"),
    ('x: Optional[Path] = Input(default=None, accept=TEXT, description="d"),', "accept= that is not a literal"),
    # bounds
    ('x: int = Input(default=1, ge=NUMBER, description="d"),', "ge= that is a name"),
    ('x: int = Input(default=1, le=2 * 4, description="d"),', "le= that is an expression"),
    ('x: int = Input(default=1, le=0x10, description="d"),', "le= that is 0x10"),
    ('x: int = Input(default=1, le="8", description="d"),', "le= that is not a number"),
    ('x: str = Input(default="", max_length=NUMBER, description="d"),', "max_length= that is a name"),
    ('x: str = Input(default="", max_length=1.5, description="d"),', "max_length=1.5, not a number of characters"),
    ('x: int = Input(default=1, ge=5, le=2, description="d"),', "ge=5 above le=2"),
    ('x: str = Input(default="", ge=1, description="d"),', "ge=, which means nothing for type str"),
    ('x: int = Input(default=1, accept="audio/*", description="d"),', "accept=, which means nothing for type int"),
    ('x: int = Input(default=1, deprecated=FLAG, description="d"),', "deprecated= that is not True or False"),
    # choices
    ('x: str = Input(default="a", choices=("a", "b"), description="d"),', "choices= that is a tuple"),
    ('x: str = Input(default="a", choices=list(WORDS), description="d"),', "choices= that is a call"),
    ('x: str = Input(default="a", choices=[*WORDS], description="d"),', "choices= that is not a literal"),
    ('x: str = Input(default="a", choices=[w for w in WORDS], description="d"),', "choices= that is a comprehension"),
    ('x: str = Input(default="a", choices=COMMENTED, description="d"),', "that has a comment inside the list"),
    ('x: str = Input(default="a", choices=["a",  # first\n "b"], description="d"),', "has a comment inside the list"),
    ('x: str = Input(default="a", choices=BARE_PAIR, description="d"),', "choices= that is a tuple"),
    ('x: str = Input(default="a", choices=STEPS, description="d"),', "choices= that is imported from"),
    ('x: str = Input(default="a", choices=["a", "a"], description="d"),', "has the same choice twice"),
    ('x: int = Input(default=1, choices=[1, "2"], description="d"),', "has choice '2', which is no int"),
    ('x: bool = Input(default=True, choices=[True], description="d"),', "which means nothing for type bool"),
    ('Output: str = Input(default="a", choices=["a"], description="d"),', "name of a schema component"),
    ('Input: str = Input(default="a", choices=["a"], description="d"),', "name of a schema component"),
    ('Status: str = Input(default="a", choices=["a"], description="d"),', "name of a schema component"),
    # the call
    ('x: int = cog.Input(default=1, description="d"),', "input 'x' is cog.Input(...)"),
    ('x: int = SHARED,', "input 'x' has no Input(...)"),
    ('x: int = 3,', "input 'x' has no Input(...)"),
    ('x: int,', "input 'x' has no Input(...)"),
    ('x: int = helper(default=1),', "input 'x' is helper(...)"),
    # annotations
    ('x = Input(default=1, description="d"),', "input 'x' has no type annotation"),
    ('x: Literal["a"] = Input(default="a", description="d"),', "has type Literal['a']; allowed are str, int"),
    ('x: list[int] = Input(description="d"),', "has type list[int]; allowed are"),
    ('x: int | str = Input(default=1, description="d"),', "has type int | str; allowed are"),
    ('x: "int or" = Input(default=1, description="d"),', "has type 'int or'; allowed are"),
    ('x: CogPath = Input(description="d"),', "does not recognise Path under another name"),
    ('x: pathlib.Path = Input(description="d"),', "has type pathlib.Path; allowed are"),
    ('*x: int,', "'x' as *, ** or positional-only"),
    ('**x: int,', "'x' as *, ** or positional-only"),
]  # fmt: skip

HEAD = "from cog import BasePredictor, Input, Path\n"
METHOD = "    def predict(self) -> Path:\n        return Path('x')\n"
WHOLE_FILES = {
    "syntax error": (HEAD + "def (\n", 2, "is not valid Python"),
    "no class": (HEAD, 1, "has no class Predictor at the top level"),
    "class under if": (HEAD + "if True:\n    class Predictor:\n        pass\n", 1, "has no class Predictor"),
    "no method": (HEAD + "class Predictor(BasePredictor):\n    pass\n", 2, "has no predict() of its own"),
    "inherited": (
        HEAD + f"class Base:\n{METHOD}class Predictor(Base):\n    pass\n",
        5,
        "has no predict() of its own",
    ),
    "both names": (
        HEAD + f"class Predictor:\n{METHOD}{METHOD.replace('predict', 'run')}",
        5,
        "both predict() and run()",
    ),
    "decorated": (HEAD + f"class Predictor:\n    @torch.inference_mode()\n{METHOD}", 3, "predict() is decorated"),
    "no return": (HEAD + f"class Predictor:\n{METHOD}".replace(" -> Path", ""), 3, "has no return annotation"),
    "optional return": (
        HEAD + f"class Predictor:\n{METHOD}".replace("-> Path", "-> Path | None"),
        3,
        "output is Optional",
    ),
    "list return": (HEAD + f"class Predictor:\n{METHOD}".replace("-> Path", "-> tuple"), 3, "output has type tuple"),
    "pathlib's Path": (
        HEAD.replace(", Path", "") + f"from pathlib import Path\nclass Predictor:\n{METHOD}",
        4,
        "a Path that is not imported by `from cog import Path`",
    ),
    "positional only": (HEAD + f"class Predictor:\n{METHOD}".replace("(self)", "(self, /)"), 3, "positional-only"),
}
