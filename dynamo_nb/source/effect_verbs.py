"""Names of functions and methods by which a call is a change of an object, or only a use of it."""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


CONTAINER_METHODS = _words(
    """
    append appendleft extend insert add update setdefault remove discard pop popitem popleft clear sort
    reverse
    """
)
"""Methods that change the built-in containers, also where their value is used."""
MAY_RETURN_ARGUMENT = frozenset({"get", "setdefault", "pop"})
"""Methods of the built-in containers whose value may be an argument: the default."""
CHANGED_BY_BUILTIN = frozenset({"setattr", "delattr", "next"})
"""Built-in functions that change their first argument."""
CHANGED_BY_BUILTIN_METHOD = frozenset({"__setattr__", "__delattr__", "__setitem__", "__delitem__", "__init__"})
"""Methods of built-in classes that change their first argument, as `object.__setattr__(item, "a", 1)`."""
PURE = _words(
    """
    abs all any bool bytes dict enumerate float format frozenset getattr hasattr hash id int isinstance
    issubclass len list max min print range repr reversed round set sorted str sum tuple type
    """
)
"""Built-in functions whose value does not keep the argument's object."""
DISPLAY_PACKAGES = _words(
    """
    IPython altair bokeh dynamo dynamo_nb ipywidgets httpx matplotlib plotly pprint pytest requests rich
    seaborn subprocess time tqdm unittest urllib
    """
)
"""Packages whose calls, as statements of a cell, show, fetch or test something."""
PROCESS_WIDE = _words(
    """
    asyncio codecs copyreg faulthandler gc locale logging mimetypes multiprocessing os signal socket sys tempfile
    threading time warnings
    """
)
"""Modules whose state concerns code that does not import them itself."""

_USES = _words(
    """
    all any ask assert_called chat check close copy count critical debug decode delete describe display draw
    dump dumps encode error exception exists explain fetch find flush format generate get getvalue head help
    index info invoke items join json keys link list listdir log logs makedirs mkdir open openapi options plot
    post predict pprint print query read render request result run save savefig scale search serve show sleep
    start status stop stream summarize summary system tail test tokenize values view visualize wait warn
    warning
    """
)
_SEEMS_TO_USE = _words("check close delete fetch invoke open read request run serve start stop stream")
_USE_PREFIXES = ("is_", "has_", "get_", "show_", "print_", "plot_", "test_", "to_", "assert", "run_", "draw_", "dump_")
_CHANGES = _words(
    """
    addHandler apply basicConfig captureWarnings chdir compile configure connect constructor cuda dictConfig disable
    enable eval fileConfig filterwarnings fit half install load login manual_seed manual_seed_all middleware mount
    nice patch pickle propagate push put putenv register resetwarnings route seed signal simplefilter subscribe
    sync tic train tzset umask unregister use
    """
)
_CHANGE_PREFIXES = (
    "add_", "addF", "addH", "addL", "append", "bind_", "configure_", "disable_", "enable_", "exclude_", "extend_",
    "include_", "init", "insert_", "install_", "load_", "on_", "patch_", "put_", "register_", "remove", "set", "unset",
    "update_", "use_", "with_",
)  # fmt: skip
_ARGUMENT_PREFIXES = (
    "apply",
    "attach",
    "configure",
    "init",
    "install",
    "instrument",
    "patch",
    "register",
    "setup",
    "wrap",
)


def only_uses(verb: str) -> bool:
    """True if a call by this name only uses its object and arguments."""
    return verb in _USES or verb.startswith(_USE_PREFIXES)


def seems_to_use(verb: str) -> bool:
    """True if a method of this name mostly uses its object, but changes it in some libraries."""
    return verb in _SEEMS_TO_USE or verb.startswith("run_")


def changes_receiver(verb: str) -> bool:
    """True if a method of this name changes its object."""
    return verb in _CHANGES or verb in CONTAINER_METHODS or verb.startswith(_CHANGE_PREFIXES)


def changes_argument(verb: str) -> bool:
    """True if a function of this name changes the objects that it gets."""
    return verb.startswith(_ARGUMENT_PREFIXES)
