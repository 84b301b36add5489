"""What the words of an explanation mean, for readers who do not know the method."""

from __future__ import annotations

WEIGHT = (
    "The weight is learnt from what people took next, and works beside similar histories. It may count an attribute against "
    "an item (avoids it) though the history is full of it, where the history alone would speak for such items too much."
)

GLOSSARY = (
    (
        "direct view",
        "A score is a sum, and each attribute has a part of it that can be read off. Nothing is estimated.",
    ),
    (
        "above the average item",
        "A part of a score less the mean of that part over the catalog. What every item has moves none up or down, so the "
        "sentences tell what an item has more or less of than the average one.",
    ),
    (
        "through the encoder",
        "The model is run again with an attribute put at its mean wherever it goes in: in the items of the history and in "
        "the user's scores. It finds what an attribute does on ways that the direct view books under similar histories.",
    ),
    (
        "Shapley values",
        "A way to divide fairly what several attributes do together: for each one the mean of what it changes, over the "
        "orders in which attributes can be put back. They sum to the whole change.",
    ),
    (
        "rank correlation",
        "Whether two lists put the same things in the same order: 1 for the same order, 0 for no relation, -1 for the "
        "reverse.",
    ),
    (
        "standard deviation",
        "The usual distance of a user's score from the mean of all users: a change of 0.1 is small, one of 3 is rare.",
    ),
)
"""What the notes beside a table do not say already."""
