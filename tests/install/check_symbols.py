#!/usr/bin/env python3
"""libfovea.so exports what the engine's headers declare and libfovea.a defines, and nothing else.

  check_symbols.py libfovea.so libfovea.a INCLUDE-FOLDER
"""

import pathlib
import re
import subprocess
import sys

# What a compiler makes for a class beside its functions.
MADE = re.compile(r"^(typeinfo|typeinfo name|vtable|guard variable) for ")
ALLOWED = re.compile(r"lib(stdc\+\+|m|gcc_s|c|pthread)\.so\.\d+$|ld-linux[-\w]*\.so\.\d+$")


def output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def defined(*options):
    """Demangled names of the defined symbols that others can link to."""
    lines = output("nm", "-C", "--defined-only", *options).splitlines()
    found = (re.match(r"(?:[0-9a-f]+ )?([A-Zuvw]) (.+)", line) for line in lines)
    return {match[2] for match in found if match}


def qualified(symbol):
    """"fovea::Threads::run" of "fovea::Threads::run(long, std::function<...> const&)"; ABI tags fall."""
    return re.sub(r"\[abi:\w+\]", "", symbol).split("(")[0]


def public(symbol, words):
    """Whether a header declares it: every part of its name stands there, and it lies in no inner namespace."""
    parts = qualified(symbol).split("::")
    return parts[0] == "fovea" and len(parts) <= 3 and all(
        part.lstrip("~") in words or part.startswith("operator") for part in parts[1:])


def main(shared, static, include):
    headers = "".join(header.read_text(encoding="utf-8") for header in pathlib.Path(include).glob("*.h"))
    code = re.sub(r"//.*", "", headers)
    # Functions, and types (for their members), that are declared with a body elsewhere.
    words = set(re.findall(r"\b(\w+)\(", code)) | set(re.findall(r"\bclass (\w+)", code))
    exported = defined("-D", shared)
    faults = []
    for symbol in sorted(exported):
        name = MADE.sub("", symbol)
        if not public(name, words) and not (name != symbol and name == "fovea::Error"):
            faults.append(f"exported, but not declared in a header: {symbol}")
    names = {qualified(symbol) for symbol in exported}
    for symbol in sorted(defined(static)):
        if symbol.startswith("fovea::") and public(symbol, words) and qualified(symbol) not in names:
            faults.append(f"declared in a header, but not exported (src/fovea.map): {symbol}")
    if not any(name.startswith("fovea::attend") for name in names):
        faults.append("fovea::attend is not exported")
    needed = re.findall(r"\(NEEDED\).*\[(.+)\]", output("readelf", "-d", "-W", shared))
    faults += [f"needs {library}" for library in needed if not ALLOWED.match(library)]
    soname = re.findall(r"\(SONAME\).*\[(.+)\]", output("readelf", "-d", "-W", shared))
    if not re.fullmatch(r"libfovea\.so\.\d+\.\d+", "".join(soname)):
        faults.append(f"soname is {soname}, not libfovea.so.MAJOR.MINOR")
    for fault in faults:
        print(f"check_symbols: {fault}", file=sys.stderr)
    print(f"{len(exported)} symbols exported; needs {' '.join(needed)}; {len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
