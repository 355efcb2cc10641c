"""How much of a play must one have read? The loss of a perfect reader of verse, by the characters read before.

    .venv/bin/python benchmarks/verse_window.py

The reader knows the grammar of `data.verse`. At random places of a play he opens a window of 128 characters, not
knowing what came before it; his loss on each character is set against that of a reader who has read the whole play.
The difference is what even a perfect model loses to its cold start, as a share of the entropy.
"""

import torch

from course_utils import data

WINDOW, WINDOWS, CHARACTERS = 128, 2000, 1_000_000


def main() -> None:
    text = data.verse(CHARACTERS, seed=1).text
    everything = data.verse_surprise(text)
    places = torch.randint(CHARACTERS - WINDOW, (WINDOWS,), generator=torch.Generator().manual_seed(0)).tolist()
    windows = torch.stack([data.verse_surprise(text[at : at + WINDOW]) for at in places])
    known = torch.stack([everything[at : at + WINDOW] for at in places])
    extra = (windows - known) / data.verse_entropy()
    print(
        f"entropy {data.verse_entropy():.4f} nats per character; over {CHARACTERS:,} characters {everything.mean():.4f}"
    )
    for low, high in ((0, 16), (16, 32), (32, 48), (48, 64), (64, WINDOW)):
        part = extra[:, low:high].mean(1)
        error = part.std().item() / WINDOWS**0.5
        print(
            f"{low:3d} to {high - 1:3d} characters read: {part.mean():+.4%} of the entropy (standard error {error:.4%})"
        )


if __name__ == "__main__":
    main()
