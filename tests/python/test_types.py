"""The stub says what the package is, and mypy makes of calls what their readers would."""

import pathlib
import subprocess
import sys

import fovea

# The extension module's functions are nanobind's own objects, which stubtest does not take for functions.
ALLOWED = r"fovea\._engine\..*"


def mypy(tmp_path, *arguments):
    done = subprocess.run([sys.executable, "-m", *arguments], cwd=tmp_path, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def test_stub_is_true(tmp_path):
    (tmp_path / "allowed").write_text(ALLOWED + "\n")
    code, text = mypy(tmp_path, "mypy.stubtest", "fovea", "--allowlist", "allowed")
    assert code == 0, text
    assert (pathlib.Path(fovea.__file__).parent / "py.typed").exists()


def test_calls_have_types(tmp_path):
    (tmp_path / "good.py").write_text("""
import fovea, fovea.torch, numpy as np, torch
q = np.ones((2, 3), np.float32)
a: np.ndarray = fovea.attend(q, q, q, causal=True, window=(3, None), key_lengths=[2], rows=None)
a = fovea.attend(q, q, q, top=3).out
t: torch.Tensor = fovea.attend(torch.from_numpy(q), q, q, mask=torch.ones(2, 2) > 0, query_lengths=torch.tensor([2]))
t = fovea.attend(t, t, t, lse=True, rows=[0], causal="top-left").out
e = fovea.attend(t, t, None, entropy=True).entropy
a = fovea.attend_backward(q, q, q, fovea.attend(q, q, q, lse=True), q, dbias=False, dropout=0.1, dropout_seed=3).dq
t = fovea.torch.attend(t, t, t, causal=True, dropout=0.1, key_lengths=torch.tensor([2]))
t = fovea.torch.attend(t, t, t, top=3, alibi_slopes=[1.0]).out
t = fovea.torch.scaled_dot_product_attention(t, t, t, None, 0.1, True, enable_gqa=False)
t = fovea.torch.scaled_dot_product_attention(t, t, t, t > 0, entropy=True).out
try:
    fovea.set_isa(fovea.available_isas()[0])
except fovea.Error as error:
    raise ValueError(fovea.__version__ + fovea.isa()) from error
""")
    code, text = mypy(tmp_path, "mypy", "--strict", "good.py")
    assert code == 0, text
    for wrong in ("fovea.attend([1.0], q, q)", "fovea.attend(q, q, q, causal='left')", "fovea.attend(q, q)",
                  "fovea.attend(q, q, q, None)", "fovea.attend(q, q, q, top='3')", "fovea.attend(q, q, q).entropy",
                  "fovea.attend(q, q, q, window=(1, 2, 3))", "x: int = fovea.attend(q, q, q)",
                  "fovea.attend_backward(q, q, q, q, q)", "fovea.torch.attend(q, q, q)",
                  "fovea.torch.scaled_dot_product_attention(t, t, t).entropy"):
        (tmp_path / "wrong.py").write_text(
            f"import fovea, fovea.torch, numpy as np, torch\nq, t = np.ones((2, 3), np.float32), torch.ones(2, 3)\n{wrong}\n")
        code, text = mypy(tmp_path, "mypy", "--strict", "wrong.py")
        assert code == 1 and "wrong.py:3: error" in text, f"{wrong}: {text}"
