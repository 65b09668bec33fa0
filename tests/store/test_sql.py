"""Named queries: blocks of the files of sql/queries."""

from pathlib import Path

import pytest

from tracker.store.sql import UnknownQuery, read_queries, sql


def written(directory: Path, **files: str) -> Path:
    for name, text in files.items():
        (directory / f"{name}.sql").write_text(text)
    return directory


def test_a_block_is_the_text_between_two_names_without_its_description(tmp_path: Path) -> None:
    text = (
        "-- A file.\n\n-- name: one\n-- Says one.\nSELECT 1\n\n-- name: two\nSELECT 2 -- kept\n-- kept too\nFROM t;\n"
    )
    queries = read_queries(written(tmp_path, numbers=text))
    assert queries == {"one": "SELECT 1", "two": "SELECT 2 -- kept\n-- kept too\nFROM t;"}


def test_queries_of_all_files_share_one_name_space(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"b\.sql: a second query named one"):
        read_queries(written(tmp_path, a="-- name: one\nSELECT 1\n", b="-- name: one\nSELECT 2\n"))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("-- name: one\n-- only words\n-- name: two\nSELECT 2\n", "the query one is empty"),
        ("SELECT 1\n-- name: two\nSELECT 2\n", "text before the first"),
        ("-- name: Two Words\nSELECT 2\n", "text before the first"),
        ("-- name: Two\nSELECT 2\n", "lower_snake_case, not 'Two'"),
        ("-- name:\nSELECT 2\n", "lower_snake_case, not ''"),
    ],
)
def test_a_file_that_is_not_made_of_named_queries_is_refused(tmp_path: Path, text: str, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        read_queries(written(tmp_path, a=text))


def test_every_query_of_the_program_can_be_read() -> None:
    assert sql("create_database") == "CREATE DATABASE tracker"


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(UnknownQuery, match=r"no_such_query$"):
        sql("no_such_query")
    with pytest.raises(UnknownQuery, match=r"create_databases; did you mean create_database\?"):
        sql("create_databases")
