"""Muon for kernels: its directions are orthogonal, it agrees with torch's on matrices, and everything is moved once."""

import pytest
import torch
from torch import nn

from course_utils import muon


@pytest.mark.parametrize("shape", [(4, 9), (9, 4), (5, 5)])
def test_an_orthogonal_update_has_singular_values_near_one_and_the_same_directions(shape: tuple[int, int]) -> None:
    matrix = torch.randn(*shape, generator=torch.Generator().manual_seed(0))
    found = muon.orthogonal(matrix)
    values = torch.linalg.svdvals(found)
    assert (values > 0.5).all() and (values < 1.3).all()
    u, _, vh = torch.linalg.svd(matrix, full_matrices=False)
    inside = u.T @ found @ vh.T
    assert (inside - inside.diagonal().diag()).abs().max() < 1e-4


@pytest.mark.parametrize("shape", [(6, 4), (3, 8)])
def test_on_matrices_it_is_torch_s_muon(shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(1)
    ours, theirs = (nn.Parameter(torch.ones(*shape)) for _ in range(2))
    pair = muon.Muon([ours], lr=0.1), torch.optim.Muon([theirs], lr=0.1, weight_decay=0.01, momentum=0.95)
    for _ in range(4):
        ours.grad = torch.randn(*shape, generator=generator)
        theirs.grad = ours.grad.clone()
        for optimizer in pair:
            optimizer.step()
    torch.testing.assert_close(ours, theirs, atol=0.01, rtol=0)  # torch's rounds are in bfloat16
    assert (ours - 1).abs().max() > 0.05


def test_a_kernel_is_moved_as_the_matrix_of_its_outputs() -> None:
    kernel, matrix = (nn.Parameter(torch.zeros(4, 3, 2, 2)), nn.Parameter(torch.zeros(4, 12)))
    kernel.data = kernel.data.to(memory_format=torch.channels_last)
    kernel.grad = torch.randn(4, 3, 2, 2, generator=torch.Generator().manual_seed(2))
    matrix.grad = kernel.grad.flatten(1)
    for parameter in (kernel, matrix):
        muon.Muon([parameter], lr=0.1).step()
    torch.testing.assert_close(kernel.flatten(1), matrix)


def test_every_parameter_of_a_model_has_one_optimizer_and_the_ends_are_left_to_adam() -> None:
    model = nn.ModuleDict({"first": nn.Conv2d(1, 4, 3), "block": nn.Conv2d(4, 4, 3), "last": nn.Conv2d(4, 1, 3)})
    ours, adam = muon.optimizers_for(model, 1e-3, 2e-2)
    moved = [[p for group in o.param_groups for p in group["params"]] for o in (ours, adam)]
    assert [p is model["block"].weight for p in moved[0]] == [True]
    assert {id(p) for part in moved for p in part} == {id(p) for p in model.parameters()}
    assert sum(map(len, moved)) == 6


def test_a_bias_is_refused() -> None:
    with pytest.raises(ValueError, match="matrices and kernels"):
        muon.Muon([torch.zeros(3)], lr=0.1)
