"""File names: no two users share one, on no system, and none leaves the folder."""

from __future__ import annotations

import re

from hypothesis import example, given
from hypothesis import strategies as st

from guided_refine.explain.cases.file_names import file_stem

ids = st.one_of(st.text(), st.text("aA-_./\\0é", max_size=6), st.text(min_size=300, max_size=400))


@given(st.lists(ids, unique=True, max_size=8))
@example(
    [
        "u1",
        "U1",
        "u1 ",
        "u/1",
        "u\\1",
        "u:1",
        "../u1",
        "",
        ".",
        "..",
        "con",
        "index",
        "é",
        "e\u0301",
        "\ud800",
    ]
)
@example(["a" * 300, "a" * 301, "A" * 300])
def test_names_are_safe_and_differ(users: list[str]) -> None:
    stems = [file_stem(user) for user in users]
    assert len({stem.casefold() for stem in stems}) == len(users)
    for stem in stems:
        assert re.fullmatch(r"[a-z0-9][a-z0-9_.-]*", stem)
        assert len(stem) <= 80
        assert stem not in ("index", "con", "nul", "aux", "prn", "com1", "lpt9")


@given(st.text("abcdefghijklmnopqrstuvwxyz0123456789_-", min_size=1, max_size=64))
def test_a_plain_id_is_its_own_name(user: str) -> None:
    if (
        user[0].isalnum()
        and user not in ("index", "con", "nul", "aux", "prn")
        and user[:3] not in ("com", "lpt")
    ):
        assert file_stem(user) == user
    # Nobody can be called what another one's hashed name is.
    assert file_stem(file_stem(user.upper() + "/")) != file_stem(user.upper() + "/")
