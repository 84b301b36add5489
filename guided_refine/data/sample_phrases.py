"""The words of the embedded sample: what descriptions say about each attribute, and what says nothing.

Written without an eye on the attribute sets: only a minority of phrases shares a word with the poles of
`attributes/movies.yaml` (the tests measure the share), so the texts have to be read, not counted.
"""

from __future__ import annotations

from typing import NamedTuple


class Pole(NamedTuple):
    """One end of an attribute: noun phrases that follow "it has", and whole clauses without a full stop."""

    things: tuple[str, ...]
    clauses: tuple[str, ...]


LOW: dict[str, Pole] = {
    "story_complexity": Pole(
        (
            "a premise that fits on a postage stamp",
            "one road from first scene to last",
            "a plot you could draw on a napkin",
        ),
        (
            "everything happens in the order you expect",
            "nothing needs explaining afterwards",
            "it is easy to keep up with even while ironing",
        ),
    ),
    "suspense": Pole(
        (
            "the unhurried rhythm of a Sunday lunch",
            "an ending you can see from the car park",
            "the comfort of knowing how it all turns out",
        ),
        (
            "the stakes never climb above a burnt cake",
            "there is hardly a worry in it",
            "the waters stay calm throughout",
        ),
    ),
    "emotional_intensity": Pole(
        (
            "a dry shrug where others would sob",
            "feelings kept in the cloakroom",
            "a poker face from start to finish",
        ),
        (
            "handkerchiefs can stay in the drawer",
            "no heartstring is ever tugged",
            "even the farewells are brisk and cool",
        ),
    ),
    "action": Pole(
        (
            "people on verandas thinking aloud",
            "long afternoons over tea",
            "chess by lamplight and unanswered letters",
        ),
        (
            "nobody ever raises a fist",
            "nothing moves faster than a bicycle",
            "there is barely a scuffle in two hours",
        ),
    ),
    "humour": Pole(
        (
            "a stern face from beginning to end",
            "the mood of a tax inspection",
            "the weight of a verdict being read",
        ),
        (
            "hardly a smile is cracked",
            "there is hardly a laugh in it",
            "it stays solemn even over dessert",
        ),
    ),
    "romance": Pole(
        (
            "strictly business between all concerned",
            "comradeship rather than courtship",
            "hearts that stay firmly buttoned up",
        ),
        (
            "nobody has a minute for flirting",
            "no sweetheart waits at the end",
            "the two stay colleagues to the last",
        ),
    ),
    "visual_spectacle": Pole(
        (
            "bare walls and a single lamp",
            "the look of a school rehearsal",
            "grey footage from a hand-held camera",
        ),
        (
            "the eye gets little to feast on",
            "it was filmed on a shoestring and shows it",
            "the lens seldom leaves the office",
        ),
    ),
    "darkness": Pole(
        (
            "lemonade on the porch and paper lanterns",
            "a smile for every stranger",
            "a glow that outlasts the ride home",
        ),
        (
            "everyone gets home safe",
            "goodness wins without a struggle",
            "a cheerful streak runs through it",
        ),
    ),
    "thought_provoking": Pole(
        (
            "candy floss for the brain",
            "noise and froth with nothing underneath",
            "a bucket of popcorn in moving pictures",
        ),
        (
            "deeper meaning is nowhere to be found",
            "it asks nothing of anybody",
            "you need not ponder a single frame",
        ),
    ),
    "family_friendliness": Pole(
        (
            "language that would make a docker blush",
            "bedroom matters without a curtain",
            "butchery in close-up",
        ),
        (
            "the little ones are best left with a sitter",
            "it needs a strong stomach",
            "wounds are shown in brutal detail",
        ),
    ),
}

HIGH: dict[str, Pole] = {
    "story_complexity": Pole(
        (
            "three timelines folded into one another",
            "a maze of aliases and borrowed names",
            "more double dealing than a card school",
        ),
        (
            "you need a notebook to track whose secret is whose",
            "every answer opens two further riddles",
            "the last reel rearranges all that came before",
        ),
    ),
    "suspense": Pole(
        (
            "footsteps that stop outside the door",
            "a silence you could cut with a razor",
            "a phone that rings at the wrong second",
        ),
        (
            "you will grip the armrest until it creaks",
            "somebody is watching from the unlit window",
            "danger sits behind each ordinary gesture",
        ),
    ),
    "emotional_intensity": Pole(
        (
            "a goodbye at a hospital bed",
            "a letter read aloud too late",
            "a mother's silence after the funeral",
        ),
        (
            "you should bring handkerchiefs and someone to hold",
            "the last embrace will undo you",
            "the loss of a son hangs over every meal",
        ),
    ),
    "action": Pole(
        (
            "a rooftop pursuit that lasts a quarter of an hour",
            "bare knuckles among burning tyres",
            "swordplay on a moving train",
        ),
        (
            "fists fly before the titles are over",
            "the bullets hardly ever stop",
            "the closing battle fills forty minutes",
        ),
    ),
    "humour": Pole(
        (
            "a running feud with an uncooperative goose",
            "banter that trips over its own feet",
            "a disastrous dinner in the wrong trousers",
        ),
        (
            "audiences will laugh themselves hoarse",
            "the mayor ends up in the fountain twice",
            "its jokes arrive faster than the waiters",
        ),
    ),
    "romance": Pole(
        (
            "two strangers who share an umbrella and then a life",
            "stolen glances across a ballroom",
            "a slow dance that neither wants to end",
        ),
        (
            "old sweethearts find each other again",
            "their hands meet over a borrowed book",
            "everything bends towards one kiss",
        ),
    ),
    "visual_spectacle": Pole(
        (
            "skies full of burning airships",
            "a city of glass above the clouds",
            "ten thousand lanterns on a frozen sea",
        ),
        (
            "each shot could hang in a gallery",
            "the camera soars over deserts and drowned cathedrals",
            "its effects leave the season's rivals behind",
        ),
    ),
    "darkness": Pole(
        (
            "a basement that the neighbours do not mention",
            "blood on the snow behind the chapel",
            "a town rotten down to its cellars",
        ),
        (
            "evil goes unpunished",
            "nobody leaves the house with clean hands",
            "the violence leaves a stain",
        ),
    ),
    "thought_provoking": Pole(
        (
            "a dilemma without a right answer",
            "uneasy doubts about what we owe our neighbours",
            "an argument you will carry on over dinner",
        ),
        (
            "power and conscience are weighed against each other",
            "you will still be debating it next week",
            "what it says about society lingers for days",
        ),
    ),
    "family_friendliness": Pole(
        (
            "a talking hedgehog with good manners",
            "room on the sofa for grandmothers and toddlers",
            "the warmth of a book about small animals",
        ),
        (
            "nephews and nieces will want to come along",
            "the smallest in the row will cheer loudest",
            "nothing here would upset a seven-year-old",
        ),
    ),
}

# What a film is about says nothing about its attributes: every combination is as likely for every item.
WHO = (
    "A lighthouse keeper",
    "A retired postmaster",
    "A young surveyor",
    "A travelling dentist",
    "A travelling photographer",
    "A night porter",
    "A disgraced cellist",
    "A ferry captain",
    "A rookie cartographer",
    "A widowed clockmaker",
    "An exchange student",
    "A beekeeper",
    "A substitute teacher",
    "A radio engineer",
    "A crew of salvage divers",
    "A pastry cook",
    "An auctioneer",
    "A botanist",
    "A small-town librarian",
    "A goalkeeper past her best",
    "An interpreter",
    "A bus driver",
    "A piano tuner",
    "A stonemason",
)
WHERE = (
    "in a Baltic harbour",
    "on the edge of the steppe",
    "in Lisbon",
    "in a mining village",
    "at a mountain observatory",
    "on a river island",
    "in a desert railway town",
    "in Montreal",
    "on an oil platform",
    "in a hill station",
    "in a shuttered hotel",
    "along the old canal",
    "in the suburbs of Osaka",
    "on a sheep farm",
    "at an Antarctic base",
    "in a fishing port",
)
WHAT = (
    "inherits a piano",
    "takes over a failing ferry line",
    "finds a suitcase on the tram",
    "takes in a stranger",
    "answers an advertisement",
    "returns after twelve years",
    "signs on for one last season",
    "repairs an ancient radio",
    "is handed the wrong ticket",
    "enters a yearly contest",
    "agrees to host the mayor's guests",
    "buys a house unseen",
    "rents a room to a newcomer",
    "is asked to draw up an inventory",
    "starts a choir",
    "misses the autumn boat",
)
ASIDES = (
    "Shot over two winters with a mostly local cast",
    "Adapted from a little-known novel",
    "The score is by a brass quintet",
    "The director's second feature",
    "First shown at a harbour festival",
    "The lead was found through a newspaper notice",
    "Restored from the original negative",
    "Loosely inspired by a newspaper column",
    "The production moved between four countries",
    "Its poster became better known than its star",
)
LEADS = ("Expect {}", "It has {}", "You get {}", "The film offers {}", "On the menu: {}")

# Titles: a thing with a colour of its own, taken from a mood's list or from the neutral one.
TITLE_THINGS: dict[str, tuple[str, ...]] = {
    "neutral": (
        "Orchard", "Harbour", "Ledger", "Lantern", "Staircase", "Meridian", "Tram", "Compass", "Almanac", "Ferry",
        "Balcony", "Causeway", "Parcel", "Station", "Windmill", "Quarry", "Pavilion", "Terrace", "Signal", "Archive",
    ),
    "darkness": ("Cellar", "Gallows", "Crow", "Ash", "Marsh", "Thorn", "Vigil", "Hollow"),
    "humour": ("Trousers", "Goose", "Teapot", "Pickle", "Moustache", "Uncle", "Trombone", "Waltz"),
    "romance": ("Ribbon", "Serenade", "Rose", "Promise", "Valentine", "Summer", "Duet", "Garden"),
    "action": ("Falcon", "Fuse", "Convoy", "Citadel", "Thunder", "Blade", "Outpost", "Torpedo"),
    "family_friendliness": ("Hedgehog", "Kite", "Pony", "Treehouse", "Snowman", "Puppy", "Carousel", "Acorn"),
    "thought_provoking": ("Verdict", "Essay", "Testimony", "Mirror", "Border", "Silence", "Witness", "Census"),
}  # fmt: skip
TITLE_WORDS = (
    "Amber", "Salt", "Paper", "Glass", "Iron", "Quiet", "Northern", "Borrowed", "Winter", "Copper", "Velvet", "Crooked",
    "Distant", "Painted", "Hidden", "Seventh", "Wandering", "Silver", "Last", "Burning", "Little", "Marble", "Midnight",
    "Wooden", "Scarlet", "Foggy", "Second", "Stolen", "Golden", "Patient",
)  # fmt: skip
TITLE_FORMS = (
    "The {word} {thing}",
    "{word} {thing}",
    "A {word} {thing}",
    "{thing} of {word_noun}",
    "The {thing} at {place}",
)
TITLE_NOUNS = ("Salt", "Glass", "Paper", "Winter", "Amber", "Dust", "Rain", "Copper", "Smoke", "Tides")
TITLE_PLACES = (
    "Corran Bay", "Millbrook", "Ostrava", "Pier Nine", "Vall Street", "Kestrel Point", "Old Tarn", "Lindholm",
    "Marrow Lane", "Saint Odile", "Bell Rock", "Harrow Hill",
)  # fmt: skip
SEQUELS = (
    "Return to {}",
    "{}: The Next Morning",
    "{}: Homeward",
    "Beyond {}",
    "{}: A New Season",
    "Farewell to {}",
)
