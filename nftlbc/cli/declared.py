"""What the commands take, declared in a way that every typer understands.

The commands say it with ``Annotated``, which typer reads from 0.9 on. Debian 12 has 0.7, which
reads defaults: ``file: str = typer.Argument("farms.lb", metavar="FILE")``, as all others do too.
It knows no ``str | None`` either.
"""

from __future__ import annotations

import copy
import inspect
import types
from collections.abc import Callable
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from typer.models import OptionInfo, ParameterInfo


def as_defaults(command: Callable[..., Any]) -> None:
    """Moves what ``Annotated`` says of a command's parameters into the defaults of its signature.

    Only of what ``inspect`` tells: who calls the command finds its own defaults.
    """
    signature = inspect.signature(command)
    hints = get_type_hints(command, include_extras=True)
    parameters = [_moved(each, hints[each.name]) for each in signature.parameters.values()]
    command.__annotations__ = {each.name: each.annotation for each in parameters}
    command.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]


def _moved(parameter: inspect.Parameter, hint: Any) -> inspect.Parameter:
    default = parameter.default
    if get_origin(hint) is Annotated:
        hint, found = get_args(hint)
        assert isinstance(found, ParameterInfo)
        info = copy.copy(found)
        if isinstance(info, OptionInfo) and isinstance(info.default, str):
            # Within Annotated the first name stands where the default would.
            info.param_decls = (info.default, *(info.param_decls or ()))
        info.default = ... if default is parameter.empty else default
        default = info
    if isinstance(hint, types.UnionType):
        hint = Union[get_args(hint)]  # noqa: UP007
    return parameter.replace(annotation=hint, default=default)
