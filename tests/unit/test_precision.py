"""In which floating-point format a GPU multiplies."""

import pytest
import torch

from workflow_scripts.common.precision import use_tf32


@pytest.fixture(autouse=True)
def _as_before():
    matmul, convolution = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    yield
    torch.set_float32_matmul_precision(matmul)
    torch.backends.cudnn.allow_tf32 = convolution


def test_float32_is_float32_in_products_and_convolutions_unless_tf32_is_allowed():
    for allowed in (True, False):
        use_tf32(allowed)
        assert torch.backends.cuda.matmul.allow_tf32 is allowed
        assert torch.backends.cudnn.allow_tf32 is allowed
