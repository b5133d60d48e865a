"""Which cluster a command talks to, and how what goes wrong there is told to people and scripts."""

from __future__ import annotations

import asyncio
import functools
import gc
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from addon_framework.kube import ApiError, Client

T = TypeVar("T")
HUB_CONTEXT = "hub"

directory_option = click.option(
    "--dir",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path.home() / ".boundaryless",
    envvar="BOUNDARYLESS_DIR",
    show_default="~/.boundaryless",
    help="Where the fleet is kept.",
)


class Failure(click.ClickException):
    """Exit code 1."""


class NotThere(Failure):
    """What was named does not exist."""

    exit_code = 4


class TimedOut(Failure):
    """Not so within the time given."""

    exit_code = 5


@dataclass(frozen=True)
class Where:
    """A kubeconfig, and the context asked for, if one was."""

    kubeconfig: Path
    context: str | None = None

    def contexts(self) -> list[str]:
        """The names of the kubeconfig's contexts. Raises Failure."""
        return [str(entry.get("name")) for entry in self._read().get("contexts") or []]

    def client(self, context: str | None = None) -> Client:
        """A client of the context given here, asked for by the user, `hub`, or the current one."""
        from addon_framework.kube import Client, ConfigError

        wanted = context or self.context or (HUB_CONTEXT if HUB_CONTEXT in self.contexts() else None)
        try:
            return Client.from_kubeconfig(self.kubeconfig, wanted)
        except ConfigError as error:
            raise Failure(f"{error} ({self.kubeconfig})") from None
        except (OSError, ValueError, TypeError, AttributeError, KeyError) as error:
            raise Failure(f"kubeconfig {self.kubeconfig} cannot be used: {error}") from None

    def _read(self) -> dict[str, Any]:
        import yaml

        try:
            config = yaml.load(self.kubeconfig.read_bytes(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        except FileNotFoundError:
            raise Failure(
                f"kubeconfig {self.kubeconfig} does not exist: run fleetadm up, or give --kubeconfig"
            ) from None
        except OSError as error:
            raise Failure(f"kubeconfig {self.kubeconfig} cannot be read: {error.strerror}") from None
        except yaml.YAMLError as error:
            raise Failure(f"kubeconfig {self.kubeconfig} is not valid YAML: {error}") from None
        contexts = config.get("contexts") if isinstance(config, dict) else None
        if not isinstance(contexts, list) or not all(isinstance(entry, dict) for entry in contexts):
            raise Failure(f"kubeconfig {self.kubeconfig} has no list of contexts: it is not a kubeconfig")
        return dict(config)


def cluster_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --kubeconfig, --context and --dir, given to the command as one argument, `where`."""

    @click.option(
        "--kubeconfig", type=click.Path(dir_okay=False, path_type=Path), help="The kubeconfig file."
    )
    @click.option("--context", help="The context in it. [hub where there is one, else the current one]")
    @directory_option
    @functools.wraps(command)
    def wrapper(*, kubeconfig: Path | None, context: str | None, directory: Path, **arguments: Any) -> Any:
        source = click.get_current_context().get_parameter_source("directory")
        said = source is click.core.ParameterSource.COMMANDLINE
        path = kubeconfig or locate(directory, said, os.environ.get("KUBECONFIG", ""))
        return command(where=Where(path.expanduser(), context), **arguments)

    return wrapper


def locate(directory: Path, said: bool, environment: str) -> Path:
    """The kubeconfig when no file was named. A --dir that the user `said` goes before $KUBECONFIG."""
    first = environment.split(os.pathsep)[0]
    return Path(first) if first and not said else directory / "kubeconfig"


def run(work: Callable[[], Awaitable[T]], *, verbosity: str = "warning", serves: bool = False) -> T:
    """Runs a command's coroutine, with `errors_for_people`. One that serves for long is set up for that."""

    async def main() -> T:
        return await work()

    with (
        errors_for_people(verbosity=verbosity),
        asyncio.Runner(loop_factory=loop_that_serves() if serves else None) as runner,
    ):
        return runner.run(main())


def loop_that_serves() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's where it is installed (the extra `local`), and a collector that looks less often.

    A write and its event take a tenth less with the one. With the other, caches that fill with 5,000 clusters
    take a third less, for what they hold is walked less often; a hub at rest does not tell them apart.
    """
    gc.set_threshold(20_000, 20, 100)
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


@contextmanager
def errors_for_people(*, verbosity: str = "warning") -> Iterator[None]:
    """What may go wrong comes out as a message and an exit code."""
    from addon_framework.hub.install import CannotAccept
    from addon_framework.kube import ApiError, ConfigError
    from addon_framework.local.fleet import FleetError
    from addon_framework.logs import configure

    configure(verbosity)
    try:
        yield
    except ApiError as error:
        raise explained(error) from None
    except (ConfigError, CannotAccept, FleetError) as error:
        raise Failure(str(error)) from None
    except TimeoutError as error:
        raise TimedOut(str(error) or "timed out") from None
    except KeyboardInterrupt:
        raise click.exceptions.Exit(130) from None


async def check_hub(client: Client) -> None:
    """For commands that would wait for ever: raises the NotFound of missing kinds, which `run` explains."""
    from addon_framework.api.cluster import ManagedCluster

    await client.request("GET", ManagedCluster.RESOURCE.path(), params={"limit": "1"})


def explained(error: ApiError) -> Failure:
    """What to say, and to do, about an answer of an API server."""
    from addon_framework.kube import Forbidden, NotFound, Unauthorized, Unreachable

    match error:
        case Unreachable():
            return Failure(f"{error.message}\nIs it up? An embedded fleet is started with: fleetadm up")
        case Unauthorized():
            return Failure(f"the API server does not accept the kubeconfig's credentials: {error.message}")
        case Forbidden():
            return Failure(f"not allowed: {error.message}")
        case NotFound() if is_kind_missing(error):
            return Failure("this cluster is not a hub: run fleetadm hub install")
        case NotFound():
            return NotThere(error.message)
    return Failure(error.message or error.reason)


def is_kind_missing(error: ApiError) -> bool:
    """Whether a 404 is about the resource itself, for want of its CRD, and not about one object."""
    return error.status == 404 and not error.details.get("name")
