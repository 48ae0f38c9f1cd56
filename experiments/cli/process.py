"""What a command sets of its process, and a library must not: JAX's precision, devices, cache."""

import contextlib
import functools
import hashlib
import os
import pathlib
import platform
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any, override

import typer

from starcensus.files import cache_folder, trim

# Bytes of compiled programs that are kept; a quickstart has 3 MB of them.
MAX_CACHE_BYTES = 200_000_000


class Commands(typer.Typer):
    """A Typer application whose commands, and not its help, prepare the process first."""

    @override
    def command(self, *names: Any, **options: Any) -> Callable[[Any], Any]:
        register = super().command(*names, **options)

        def add[**P, R](function: Callable[P, R]) -> Callable[P, R]:
            @functools.wraps(function)
            def prepared(*args: P.args, **kwargs: P.kwargs) -> R:
                prepare()
                with stoppable():
                    return function(*args, **kwargs)

            register(prepared)
            return function

        return add


def prepare() -> None:
    """Double precision, a device for each core, compiled programs kept; the first time alone."""
    # XLA says at level 2 and below that it is slow, and that a kept program is of this very CPU.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import jax

    jax.config.update("jax_enable_x64", True)
    _use_every_core()
    if (folder := cache_folder()) is not None:
        keep_programs(folder / "programs")


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """Ctrl-C and SIGTERM both end a command with a word, and leave nothing half-written.

    The exit status is that of a process that such a signal ends, 130 or 143.
    """
    said: list[int] = []

    def stop(number: int, _: object) -> None:
        said.append(number)
        raise KeyboardInterrupt

    before = None
    # Python takes signals in its main thread alone.
    if threading.current_thread() is threading.main_thread():
        before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    except KeyboardInterrupt:
        number = said[0] if said else signal.SIGINT
        typer.echo(
            f"starcensus: stopped by {signal.Signals(number).name}; what was finished is kept, and "
            "the same command goes on from there",
            err=True,
        )
        raise SystemExit(128 + number) from None
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)


def _use_every_core() -> None:
    """One JAX device for each core, up to four: a sampler runs its chains on them side by side."""
    import jax

    if "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", ""):
        return
    # Too late, and refused, once JAX has computed something.
    with contextlib.suppress(RuntimeError):
        jax.config.update("jax_num_cpu_devices", min(os.cpu_count() or 1, 4))


def keep_programs(folder: pathlib.Path, max_bytes: int = MAX_CACHE_BYTES) -> None:
    """Let JAX keep compiled programs in `folder`, and find those that it kept there before.

    Nothing is kept where the folder cannot be written, or where the user has told JAX of another
    (`JAX_COMPILATION_CACHE_DIR`). `max_bytes`: beyond it the programs longest unused go, now.
    """
    import jax

    if jax.config.jax_compilation_cache_dir is not None:
        return
    # A home folder may be shared by machines that do not execute the same instructions.
    here = folder / _processor()
    try:
        here.mkdir(parents=True, exist_ok=True)
        trim(folder, max_bytes, "*-cache")
    except OSError:
        return
    if not os.access(here, os.W_OK | os.X_OK):
        return
    jax.config.update("jax_compilation_cache_dir", str(here))
    # The hundreds of small programs of a run take longer to compile than the large ones.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    # A program that cannot be read or written is compiled as if nothing were kept.
    warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache")


@functools.cache
def _processor() -> str:
    """A word for what this machine's processor can execute."""
    text = platform.machine() + platform.processor()
    with contextlib.suppress(OSError):
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        wanted = ("flags", "Features", "model name")
        text += "".join(sorted({line for line in lines if line.startswith(wanted)}))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
