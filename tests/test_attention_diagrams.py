"""Pictures of a transformer say what its weights are."""

import torch
from torch import nn

from course_utils import attention_diagrams


class Named(nn.Module):
    """Two blocks with the names of GPT-2."""

    def __init__(self) -> None:
        super().__init__()
        self.wte, self.wpe, self.lm_head = nn.Embedding(11, 8), nn.Embedding(16, 8), nn.Linear(8, 11, bias=False)
        block = nn.ModuleDict({"attn": nn.ModuleDict(), "mlp": nn.ModuleDict()})
        for part, name, shape in (
            ("attn", "c_attn", (8, 24)),
            ("attn", "c_proj", (8, 8)),
            ("mlp", "c_fc", (8, 32)),
            ("mlp", "c_proj", (32, 8)),
        ):
            block[part][name] = nn.Linear(*shape)  # type: ignore[index]
        self.blocks = nn.ModuleList([block, block])


def test_attention_is_drawn_with_the_shapes_of_its_weights(alts: list[str]) -> None:
    layer = nn.ModuleDict({"c_attn": nn.Linear(8, 24), "c_proj": nn.Linear(8, 8)})
    layer.n_heads = 2  # type: ignore[assignment]
    attention_diagrams.attention(layer)
    for said in ("x (B, T, 8)", "c_attn (24, 8)", "each (B, 2, T, 4)", "scores (B, 2, T, T)", "c_proj (8, 8)"):
        assert said in alts[0]


def test_a_gpt_is_drawn_with_its_blocks_and_embeddings(alts: list[str]) -> None:
    attention_diagrams.gpt(Named())
    for said in ("wte (11, 8)", "wpe (16, 8)", "of 8 channels", "through 2 blocks", "lm_head (11, 8)"):
        assert said in alts[0]


def test_maps_have_a_panel_for_each_head(alts: list[str]) -> None:
    weights = torch.softmax(torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0)), -1)
    attention_diagrams.maps(weights, "a b\n", torch.rand(2, 3), title="Where heads look", alt="Six maps.")
    assert alts == ["Six maps."]
