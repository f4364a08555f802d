"""Every message on the wire: a header each, validated here; payload frames travel behind it, unread.

A message is sent as `[version, header, *payload frames]` (see `codec`). The coordinator owns one ROUTER
socket; supervisors, step processes and clients each own a DEALER. `worker` names the host's supervisor,
`session` the one connection: a process that starts again is a new session.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import Field

from distilmq.protocol.messages.client import (
    Accepted,
    Control,
    Describe,
    Described,
    Failures,
    Fetch,
    FetchFailures,
    FetchFile,
    FetchUsage,
    FileInfo,
    FileList,
    FilePart,
    Finished,
    ListFiles,
    Progress,
    Rows,
    Secrets,
    StepProgress,
    Submit,
    UsageReport,
    Watch,
)
from distilmq.protocol.messages.from_worker import (
    Answered,
    Artifact,
    Borrow,
    Bye,
    Exited,
    Failed,
    FetchPart,
    Heartbeat,
    Hello,
    Job,
    JobEnded,
    JobRequest,
    JobStarted,
    LoadFailed,
    Loan,
    Note,
    Ready,
    Result,
    ResultPart,
    Returned,
    Want,
)
from distilmq.protocol.messages.to_worker import (
    Ack,
    Assign,
    Batch,
    BatchPart,
    Cancel,
    Drain,
    JobKept,
    Kill,
    Lend,
    PartKept,
    Refused,
    Slots,
    Stop,
    Welcome,
    Who,
)
from distilmq.protocol.messages.values import (
    Cursor,
    ErrorInfo,
    Lease,
    Message,
    RowFailure,
    SharedFile,
    UselessAnswer,
    Value,
    Versions,
)

_SaidByWorkers: TypeAlias = (
    Hello
    | Ready
    | FetchPart
    | Want
    | Borrow
    | LoadFailed
    | Result
    | ResultPart
    | Failed
    | Returned
    | Answered
    | Job
    | JobStarted
    | JobEnded
    | Heartbeat
    | Exited
    | Note
    | Artifact
    | FetchFile
    | Bye
)
FromWorker = Annotated[_SaidByWorkers, Field(discriminator="kind")]
ToWorker = Annotated[
    Welcome
    | Refused
    | Assign
    | Batch
    | BatchPart
    | Ack
    | PartKept
    | JobKept
    | Lend
    | Cancel
    | Who
    | Drain
    | Stop
    | Slots
    | Kill
    | FilePart,
    Field(discriminator="kind"),
]
_SaidByClients: TypeAlias = (
    Hello
    | Submit
    | Secrets
    | Watch
    | Control
    | Fetch
    | FetchFailures
    | FetchUsage
    | Describe
    | ListFiles
    | FetchFile
    | Bye
)
FromClient = Annotated[_SaidByClients, Field(discriminator="kind")]
ToClient = Annotated[
    Welcome
    | Refused
    | Who
    | Accepted
    | Progress
    | Rows
    | Failures
    | UsageReport
    | Described
    | FileList
    | FilePart
    | Note
    | Finished,
    Field(discriminator="kind"),
]
FromPeer = Annotated[_SaidByWorkers | _SaidByClients, Field(discriminator="kind")]

__all__ = [
    "Accepted",
    "Ack",
    "Answered",
    "Artifact",
    "Assign",
    "Batch",
    "BatchPart",
    "Borrow",
    "Bye",
    "Cancel",
    "Control",
    "Cursor",
    "Describe",
    "Described",
    "Drain",
    "ErrorInfo",
    "Exited",
    "Failed",
    "Failures",
    "Fetch",
    "FetchFailures",
    "FetchFile",
    "FetchPart",
    "FetchUsage",
    "FileInfo",
    "FileList",
    "FilePart",
    "Finished",
    "FromClient",
    "FromPeer",
    "FromWorker",
    "Heartbeat",
    "Hello",
    "Job",
    "JobEnded",
    "JobKept",
    "JobRequest",
    "JobStarted",
    "Kill",
    "Lease",
    "Lend",
    "ListFiles",
    "LoadFailed",
    "Loan",
    "Message",
    "Note",
    "PartKept",
    "Progress",
    "Ready",
    "Refused",
    "Result",
    "ResultPart",
    "Returned",
    "RowFailure",
    "Rows",
    "Secrets",
    "SharedFile",
    "Slots",
    "StepProgress",
    "Stop",
    "Submit",
    "ToClient",
    "ToWorker",
    "UsageReport",
    "UselessAnswer",
    "Value",
    "Versions",
    "Want",
    "Watch",
    "Welcome",
    "Who",
]
