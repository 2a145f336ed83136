"""Files of an archive that cannot be used: how many are too many."""

from workflow_scripts.common.errors import InputError

SHOWN = 10  # that are named together

Reject = tuple[str, str, str, str]  # a row of REJECTS


def refuse_excess(name: str, rejected: list[Reject], limit: int) -> None:
    """Raise an `InputError` that names the rejects of an archive if there are more than `limit`.

    Who gave up looking at `limit` + SHOWN is understood to have found at least as many.
    """
    if len(rejected) <= limit:
        return
    lines = "".join(f"\n  {member}: {reason}" for _, member, _, reason in rejected[-SHOWN:])
    more = " at least" if len(rejected) == limit + SHOWN else ""
    raise InputError(
        f"{name}:{more} {len(rejected)} files cannot be used, tensors.max_rejects allows {limit}:"
        f"{lines}\nMend the files, or raise tensors.max_rejects to go on without them."
    )
