"""What can keep a sandbox from being built."""


class SandboxError(Exception):
    """Anything a sandbox could not do; its text is for people."""


class SandboxNotAllowed(SandboxError):
    """The system allows no new namespaces; the text says what to run to allow them."""


class ProgramMissing(SandboxError):
    """A command that the sandbox drives is not installed; the text names its package."""


class NoAnswer(SandboxError):
    """A process of the sandbox did not answer in time."""
