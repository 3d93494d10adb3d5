#!/usr/bin/env python3
"""Writes python.tsv: texts and what Python's json module makes of them, for tests/model/template/test_python_json.c.

A line is the text's bytes in hexadecimal, a tab, and the value printed by json.dumps(ensure_ascii=False), or "!"
where Python refuses it. Halves of surrogate pairs are printed as U+FFFD, which is what our reader makes of them.
"""
import json
import random
import sys

random.seed(13)
sys.setrecursionlimit(10000)
out = {}


def fixed(v):
    if isinstance(v, str):
        return "".join("\ufffd" if 0xD800 <= ord(c) < 0xE000 else c for c in v)
    if isinstance(v, list):
        return [fixed(x) for x in v]
    if isinstance(v, dict):
        return {fixed(k): fixed(x) for k, x in v.items()}
    return v


def add(text):
    data = text if isinstance(text, bytes) else text.encode()
    try:
        v = json.loads(data.decode())
        out[data] = json.dumps(fixed(v), ensure_ascii=False)
    except (ValueError, RecursionError):
        out[data] = "!"


NUMBERS = ["0", "-0", "1", "-1", "18446744073709551615", "18446744073709551616", "9223372036854775807",
           "9223372036854775808", "-9223372036854775808", "-9223372036854775809",
           "1000000000000000019884624838656", "170141183460469231731687303715884105727",
           "170141183460469231731687303715884105728", "-170141183460469231731687303715884105728",
           str(2**256 - 1), str(-2**256), "9" * 4300, "-" + "9" * 4300, "9" * 4301, "NaN", "Infinity", "-Infinity",
           "1e400", "-1e400", "1e308", "1.7976931348623157e308", "1.7976931348623159e308", "5e-324", "2e-324", "1e-400",
           "-0.0", "0.0", "1.0", "0.1", "1e16", "1e15", "123456789012345678", "1234567890123456.0", "1e22", "1e23",
           "0.0001", "0.00001", "1E5", "1e+5", "1e-5", "2.5e-7", "9007199254740993.0", "5.684341886080802e-14",
           "1" + "0" * 400, "0." + "0" * 400 + "1", "1." + "3" * 1000]
NO_NUMBERS = ["00", "01", "-", "+1", ".5", "1.", "1.e5", "1e", "1e+", "-NaN", "+Infinity", "nan", "Inf", "0x10", "1_000",
              "--1", "1 2", "NaNN", "Infinityy", "-Infinit", "1e5.5", "\u0661"]
for n in NUMBERS:
    for form in ("%s", "[%s]", "{\"a\": %s}", " [1, %s, \"x\"]\n"):
        add(form % n)
for n in NO_NUMBERS:
    add(n)
    add("[%s]" % n)
for e in list(range(-1074, 1024, 7)) + list(range(-60, 60)):
    add(repr(2.0**e))
    add(repr(-(2.0**e) * 3))
for _ in range(200):
    add("%.*e" % (random.randint(0, 20), random.uniform(-10, 10) * 10.0**random.randint(-320, 300)))

for s in (r'"\ud800"', r'"\udc00"', r'"\ud800\ud800"', r'"\udc00\ud800"', r'"\ud83d\ude00"', r'"\ud83d\u0041"',
          r'"\ud83dA"', r'"\ud83d\n"', r'"x\uD83D\uDE00y"', r'"\u0000"', r'"a\u0000b"', r'{"\u0000": 1}',
          r'{"a\u0000b": 1, "a": 2, "a\u0000b": 3}', r'{"\ud800": 1}', r'"\u12"', r'"\u123g"', r'"\uD83D\u12"', r'"\x41"',
          r'"\'"', r'"\/\b\f\n\r\t\"\\"', '"\x7f"', '"\x1f"', '"\n"', '"\t"', '"', '"\\', '"\\"', "'a'", '"\u2028\u2029"',
          r'"\u 123"', r'"\u-123"', r'"\u+123"', r'"\u0x12"'):
    add(s)
for b in (b'"\xff"', b'"\xed\xa0\x80"', b'"\xc0\x80"', b'"\xf4\x90\x80\x80"', b'"\xf0\x9f\x98\x80"', b'"\xe2\x82"', b'"\xc3'):
    add(b)
for s in ('{"a": 1, "a": 2}', '{"a": 1, "b": 2, "a": {"a": 3, "a": 4}}', '{"a": 1, "\\u0061": 2}', "{}", "[]", "[[]]", "{,}",
          "[,]", "[1,]", '{"a":1,}', '{"a"}', '{"a":}', "{a:1}", "{1:1}", '{"a":1 "b":2}', "[1 2]", "[", "{", "]", "", " ",
          "null", "true", "false", "nul", "True", "None", "nulll", "[null,true,false]", "{} {}", "[] x", "\f1", "\v1",
          "\u00a01", "\r\n\t 1 \r\n\t", "/*c*/1", "1//c", "[1]\0", '{"": ""}', "[" * 500 + "]" * 500,
          '{"a":' * 300 + "1" + "}" * 300):
    add(s)


def scalar():
    k = random.randint(0, 9)
    if k < 3:
        return random.choice(NUMBERS[:16] + NUMBERS[19:])
    if k < 4:
        return str(random.randint(-10**random.randint(1, 60), 10**random.randint(1, 60)))
    if k < 5:
        return random.choice(["null", "true", "false"])
    return string()


def string():
    parts = ["a", "key", "\\n", "\\ud800", "\\udfff", "\\ud83d\\ude00", "\\u0000", "é", "漢", "😀", "\\\\", "\\\"", "/", "\u007f"]
    return '"' + "".join(random.choice(parts) for _ in range(random.randint(0, 4))) + '"'


def blank():
    return random.choice(["", "", "", " ", "\n", "\t \r\n"])


def value(depth):
    k = random.randint(0, 3) if depth else 0
    if k < 2:
        return scalar()
    if k == 2:
        return "[" + ",".join(blank() + value(depth - 1) + blank() for _ in range(random.randint(0, 4))) + "]"
    return "{" + ",".join(blank() + string() + blank() + ":" + blank() + value(depth - 1) + blank()
                          for _ in range(random.randint(0, 4))) + "}"


for _ in range(500):
    add(blank() + value(4) + blank())
for _ in range(800):  # and with a place or two damaged
    text = list(value(3))
    for _ in range(random.randint(1, 2)):
        at = random.randint(0, len(text))
        text[at:at + random.randint(0, 2)] = random.choice(["", "", ",", ":", "]", "}", "[", '"', "\\", "0", "e", "-", ".", "N",
                                                            "\\u", "\x01"])
    add("".join(text))

with open(sys.argv[1] if len(sys.argv) > 1 else "python.tsv", "w", encoding="utf-8") as f:
    for data, printed in out.items():
        f.write(data.hex() + "\t" + printed + "\n")
