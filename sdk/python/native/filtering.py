"""The types of filters, for tests in Python."""

from dataclasses import dataclass
from typing import List


@dataclass
class Header:
    name: str
    value: bytes


@dataclass
class Attribute:
    name: str
    value: str


@dataclass
class Reply:
    status: int
    headers: List[Header]
    body: bytes


@dataclass
class Edit:
    """An edit of the kind that its class says, with its value."""

    value: object


class Edit_Set(Edit):
    pass


class Edit_Append(Edit):
    pass


class Edit_Remove(Edit):
    pass


class Edit_Path(Edit):
    pass


class Edit_Authority(Edit):
    pass


class Edit_Upstream(Edit):
    pass


class Edit_Status(Edit):
    pass


class Edit_Attribute(Edit):
    pass
