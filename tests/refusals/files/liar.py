"""What root on a node may put in the place of its Python: it keeps what it is sent, and answers as it likes."""

import pathlib
import sys

sent = (
    pathlib.Path(sys.argv[1]).read_bytes()
    if len(sys.argv) > 1 and pathlib.Path(sys.argv[1]).is_file()
    else sys.stdin.buffer.read()
)
with open("@kept@", "ab") as kept:
    kept.write(sent + b"\n")
print("""@answer@""")
