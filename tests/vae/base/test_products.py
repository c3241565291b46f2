import pytest
import torch
from torch import Tensor

from vae.base import products
from vae.base.products import by_openblas, by_torch, product_for
from vae.base.runtime import CPU, SAME_ON_EVERY_MACHINE, generator


@pytest.fixture
def pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings with which results are the same on every machine."""
    for name, value in SAME_ON_EVERY_MACHINE.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("product", [by_torch, by_openblas])
@pytest.mark.parametrize(("rows", "inner", "columns"), [(128, 64, 400), (14, 6, 12), (1, 1, 1)])
def test_both_libraries_multiply_matrices_of_any_layout(
    product: products.Product, rows: int, inner: int, columns: int
) -> None:
    random = generator(0, "matrices")
    a, b = (torch.randn(shape, generator=random) for shape in ((rows, inner), (inner, columns)))
    expected = (a.double() @ b.double()).float()

    def check(left: Tensor, right: Tensor) -> None:
        out = torch.empty(rows, columns)
        assert product(left, right, out) is out
        torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-5)

    check(a, b)
    check(a.t().contiguous().t(), b)
    check(a, b.t().contiguous().t())


@pytest.mark.usefixtures("pinned")
def test_openblas_multiplies_where_mkl_is_limited_to_sse2() -> None:
    assert product_for(torch.zeros(1)) is by_openblas


@pytest.mark.usefixtures("pinned")
def test_pytorch_multiplies_bfloat16_which_numpy_lacks_and_on_other_devices() -> None:
    assert product_for(torch.zeros(1, dtype=torch.bfloat16)) is by_torch
    assert product_for(torch.zeros(1, device="meta")) is by_torch


def test_pytorch_multiplies_where_mkl_may_use_all_instructions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MKL_CBWR", "AUTO")
    assert product_for(torch.zeros(1, device=CPU)) is by_torch
