"""Reads vector tiles, straight from their specification and without a word of the code that writes them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.varint import read_varint

Place = tuple[int, int]


@dataclass(frozen=True)
class Feature:
    """kind 1: points, 2: lines, 3: rings of polygons, closed."""

    kind: int
    parts: list[list[Place]]
    properties: dict[str, str | int]


@dataclass(frozen=True)
class Layer:
    name: str
    version: int
    extent: int
    features: list[Feature]


def read(data: bytes) -> dict[str, Layer]:
    layers = [_layer(value) for number, value in _fields(data) if number == 3]
    assert len({layer.name for layer in layers}) == len(layers)
    return {layer.name: layer for layer in layers}


def _layer(data: bytes) -> Layer:
    found: dict[int, list[Any]] = {number: [] for number in (1, 2, 3, 4, 5, 15)}
    for number, value in _fields(data):
        found[number].append(value)
    keys = [key.decode() for key in found[3]]
    values = [_value(value) for value in found[4]]
    [name], [version], [extent] = found[1], found[15], found[5]
    return Layer(name.decode(), version, extent, [_feature(each, keys, values) for each in found[2]])


def _value(data: bytes) -> str | int:
    [(number, value)] = _fields(data)
    if number == 1:
        return str(value.decode())
    assert number == 5
    return int(value)


def _feature(data: bytes, keys: list[str], values: list[str | int]) -> Feature:
    fields = dict(_fields(data))
    tags = _numbers(fields.get(2, b""))
    properties = {keys[key]: values[value] for key, value in zip(tags[::2], tags[1::2], strict=True)}
    return Feature(fields[3], _parts(_numbers(fields[4])), properties)


def _parts(numbers: list[int]) -> list[list[Place]]:
    parts: list[list[Place]] = []
    x = y = at = 0
    while at < len(numbers):
        command, count = numbers[at] & 7, numbers[at] >> 3
        at += 1
        if command == 7:
            assert count == 1
            parts[-1].append(parts[-1][0])
            continue
        assert command in (1, 2)
        assert count > 0
        for _ in range(count):
            x, y = x + _signed(numbers[at]), y + _signed(numbers[at + 1])
            at += 2
            if command == 1:
                parts.append([])
            parts[-1].append((x, y))
    return parts


def _signed(number: int) -> int:
    return number >> 1 if number & 1 == 0 else -(number + 1 >> 1)


def _numbers(data: bytes) -> list[int]:
    found, at = [], 0
    while at < len(data):
        number, at = read_varint(data, at)
        found.append(number)
    return found


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    at = 0
    while at < len(data):
        head, at = read_varint(data, at)
        value, at = read_varint(data, at)
        if head & 7 == 2:
            yield head >> 3, data[at : at + value]
            at += value
        else:
            assert head & 7 == 0
            yield head >> 3, value
