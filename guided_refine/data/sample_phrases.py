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
            "a yarn told in a straight line",
        ),
        (
            "everything happens in the order you expect",
            "nothing needs explaining afterwards",
            "its aim is named at the start and reached on schedule",
            "it is easy to keep up with even while ironing",
        ),
    ),
    "suspense": Pole(
        (
            "the unhurried rhythm of a Sunday lunch",
            "an ending you can see from the car park",
            "the comfort of knowing how it all turns out",
            "hours as restful as a hammock",
        ),
        (
            "the stakes never climb above a burnt cake",
            "there is hardly a worry in it",
            "any trouble is settled before the kettle boils",
            "the waters stay calm throughout",
        ),
    ),
    "emotional_intensity": Pole(
        (
            "a dry shrug where others would sob",
            "feelings kept in the cloakroom",
            "a poker face from start to finish",
            "the breezy manner of a shop window",
        ),
        (
            "handkerchiefs can stay in the drawer",
            "no heartstring is ever tugged",
            "the people in it hardly mind what befalls them",
            "even the farewells are brisk and cool",
        ),
    ),
    "action": Pole(
        (
            "people on verandas thinking aloud",
            "long afternoons over tea",
            "chess by lamplight and unanswered letters",
            "more pauses than movement",
        ),
        (
            "nobody ever raises a fist",
            "nothing moves faster than a bicycle",
            "there is barely a scuffle in two hours",
            "most of it unfolds around one dining table",
        ),
    ),
    "humour": Pole(
        (
            "a stern face from beginning to end",
            "the mood of a tax inspection",
            "the weight of a verdict being read",
            "a hush that nobody dares to break",
        ),
        (
            "hardly a smile is cracked",
            "it takes itself entirely in earnest",
            "there is scarcely a laugh in it",
            "it stays solemn even over dessert",
        ),
    ),
    "romance": Pole(
        (
            "strictly business between all concerned",
            "comradeship rather than courtship",
            "hearts that stay firmly buttoned up",
            "not so much as a held hand",
        ),
        (
            "nobody has a minute for flirting",
            "no sweetheart waits at the end",
            "a spark between the leads never comes",
            "the two stay colleagues to the last",
        ),
    ),
    "visual_spectacle": Pole(
        (
            "bare walls and a single lamp",
            "the look of a school rehearsal",
            "grey footage from a hand-held camera",
            "a set no bigger than a garage",
        ),
        (
            "the eye gets little to feast on",
            "it was filmed on a shoestring and shows it",
            "nearly all of it takes place in one stairwell",
            "the lens seldom leaves the office",
        ),
    ),
    "darkness": Pole(
        (
            "lemonade on the porch and paper lanterns",
            "a smile in every corner",
            "a glow that outlasts the ride home",
            "nice people being kind to one another",
        ),
        (
            "everyone gets home safe",
            "goodness wins without a struggle",
            "even the villain is asked to supper",
            "a cheerful streak runs through it",
        ),
    ),
    "thought_provoking": Pole(
        (
            "candy floss for the brain",
            "noise and froth with nothing underneath",
            "no message whatsoever",
            "a bucket of popcorn in moving pictures",
        ),
        (
            "deeper meaning is nowhere to be found",
            "it asks nothing of anybody",
            "you need not ponder a single frame",
            "its one idea is used up by the trailer",
        ),
    ),
    "family_friendliness": Pole(
        (
            "language that would make a docker blush",
            "bedroom matters without a curtain",
            "butchery in close-up",
            "grown-up vices on full display",
        ),
        (
            "the little ones are best left with a sitter",
            "it needs a strong stomach",
            "wounds are shown in brutal detail",
            "needles and bottles lie about in every room",
        ),
    ),
}

HIGH: dict[str, Pole] = {
    "story_complexity": Pole(
        (
            "three timelines folded into one another",
            "a maze of aliases and borrowed names",
            "narrators who contradict each other",
            "more double dealing than a card school",
        ),
        (
            "you need a notebook to track whose secret is whose",
            "every answer opens two further riddles",
            "the last reel rearranges all that came before",
            "half the cast turns out to be somebody else",
        ),
    ),
    "suspense": Pole(
        (
            "footsteps that stop outside the door",
            "a silence you could cut with a razor",
            "a phone that rings at the wrong second",
            "a trap closing by inches",
        ),
        (
            "you will grip the armrest until it creaks",
            "somebody is watching from the unlit window",
            "every locked door makes things worse",
            "danger sits behind each ordinary gesture",
        ),
    ),
    "emotional_intensity": Pole(
        (
            "a goodbye at a hospital bed",
            "a letter read aloud too late",
            "a mother's silence after the funeral",
            "the ache of a brother who never came home",
        ),
        (
            "you should bring handkerchiefs and someone to hold",
            "the last embrace will undo you",
            "few viewers will get through it without weeping",
            "the loss of a son hangs over every meal",
        ),
    ),
    "action": Pole(
        (
            "a rooftop pursuit that lasts a quarter of an hour",
            "bare knuckles among burning tyres",
            "swordplay on a moving train",
            "a siege with catapults and helicopters",
        ),
        (
            "somebody leaps from a speeding lorry every minute",
            "the bullets hardly ever stop",
            "half the city is rubble by the finale",
            "the closing battle fills forty minutes",
        ),
    ),
    "humour": Pole(
        (
            "a running feud with an uncooperative goose",
            "banter that trips over its own feet",
            "a disastrous dinner in the wrong trousers",
            "deadpan one-liners by the dozen",
        ),
        (
            "audiences will giggle themselves hoarse",
            "the mayor ends up in the fountain twice",
            "you will laugh until your ribs hurt",
            "its jokes arrive faster than the waiters",
        ),
    ),
    "romance": Pole(
        (
            "two strangers who share an umbrella and then a life",
            "stolen glances across a ballroom",
            "a slow dance that neither wants to end",
            "a proposal on the wrong platform",
        ),
        (
            "they finish each other's sentences by spring",
            "their hands meet over a borrowed book",
            "old sweethearts find each other again",
            "everything bends towards one kiss",
        ),
    ),
    "visual_spectacle": Pole(
        (
            "skies full of burning airships",
            "a city of glass above the clouds",
            "ten thousand lanterns on a frozen sea",
            "colours that spill off the screen",
        ),
        (
            "each shot could hang in a gallery",
            "the camera soars over deserts and drowned cathedrals",
            "entire continents rise before your eyes",
            "its effects leave the season's rivals behind",
        ),
    ),
    "darkness": Pole(
        (
            "a basement that the neighbours do not mention",
            "blood on the snow behind the chapel",
            "a town rotten down to its cellars",
            "a smile that hides something monstrous",
        ),
        (
            "evil goes unpunished",
            "nobody leaves the house with clean hands",
            "cruelty passes from father to son",
            "the violence leaves a stain",
        ),
    ),
    "thought_provoking": Pole(
        (
            "a dilemma without a right answer",
            "uneasy doubts about what we owe our neighbours",
            "an argument you will carry on over dinner",
            "a parable about who gets to be heard",
        ),
        (
            "power and conscience are weighed against each other",
            "you will still be debating it next week",
            "it looks hard at how nations lie to themselves",
            "what it says about society lingers for days",
        ),
    ),
    "family_friendliness": Pole(
        (
            "a talking hedgehog with good manners",
            "room on the sofa for grandmothers and toddlers",
            "a treehouse, a puppy and a map",
            "the warmth of a bedtime book, animals included",
        ),
        (
            "nephews and nieces will want to come along",
            "the smallest in the row will cheer loudest",
            "nothing here would upset a seven-year-old",
            "a lost kitten finds its way back",
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
TITLE_FORMS = ("The {word} {thing}", "{word} {thing}", "A {word} {thing}", "{thing} of {word_noun}", "The {thing} at {place}")
TITLE_NOUNS = ("Salt", "Glass", "Paper", "Winter", "Amber", "Dust", "Rain", "Copper", "Smoke", "Tides")
TITLE_PLACES = (
    "Corran Bay", "Millbrook", "Ostrava", "Pier Nine", "Vall Street", "Kestrel Point", "Old Tarn", "Lindholm",
    "Marrow Lane", "Saint Odile", "Bell Rock", "Harrow Hill",
)  # fmt: skip
SEQUELS = ("Return to {}", "{}: The Next Morning", "{}: Homeward", "Beyond {}", "{}: A New Season", "Farewell to {}")
