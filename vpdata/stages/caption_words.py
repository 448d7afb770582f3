"""Words that tell what a caption is about and in which language: small tables of English, and what a label is called.

The tables are judgements, kept wide on purpose: where a word is missing, the text must repeat the label. Another table
is another `version` of `Caption.identity`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise

_WORD = re.compile(r"[^\W_]+")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_FUNCTION_WORDS = _words(
    """an in the and of with to from by at into onto through across over under behind beside between above below around
    along near towards toward against while as then which who that whose where when its it his her he she their
    they them this these is are was has have and or but for on off up down out not each other one two some
    several both another there after before until during slowly"""
)
"""English, and few of them words of another language; "a" is one in half of Europe."""

_DESCRIBING = _words(
    """red orange yellow green blue purple violet pink brown black white grey gray silver gold golden beige dark light
    bright big large small little tiny tall short long old young new wooden metal plastic glass leather paper
    stone hot cold wet male female front back left right"""
)
"""Words of a label that say how a thing is, not what: "a red bus" is no "red car"."""

_BROAD = _words(
    """animal apparatus appliance artwork clothes clothing construction container costume creature decoration device
    drink equipment fabric figure food fruit furniture garment gear group human insect instrument item jewellery
    jewelry machine machinery material meal mammal object ornament outfit pet plant product sculpture shape
    statue structure stuff subject thing tool toy utensil vegetable vehicle"""
)
"""Labels of which no table could name all kinds: any text will do."""

_PERSON = _words(
    """person people human figure someone somebody individual man woman boy girl child kid baby infant newborn toddler
    teenager teen youth adult senior elder lady gentleman guy fellow couple family group crowd team audience
    spectator onlooker passerby bystander pedestrian commuter passenger traveler traveller tourist visitor
    customer shopper guest hiker climber mountaineer runner jogger sprinter walker cyclist biker rider horseman
    jockey skater skateboarder snowboarder skier surfer swimmer diver sailor rower kayaker paddler gymnast
    dancer ballerina acrobat athlete player footballer goalkeeper batsman batter catcher pitcher golfer boxer
    fighter wrestler referee coach trainer model actor actress performer singer musician guitarist pianist
    drummer violinist bassist busker conductor dj magician clown artist painter sculptor photographer cameraman
    filmmaker speaker presenter reporter journalist host anchor teacher professor student pupil scientist
    researcher engineer doctor surgeon nurse dentist patient officer policeman cop guard soldier warrior knight
    firefighter fireman astronaut pilot captain driver chauffeur worker builder carpenter welder mechanic
    technician electrician plumber craftsman artisan potter blacksmith glassblower tailor farmer gardener
    shepherd cowboy fisherman hunter chef cook baker butcher barista bartender waiter waitress vendor seller
    merchant shopkeeper cashier clerk assistant businessman businesswoman executive manager employee colleague
    lawyer judge politician president priest monk nun bride groom bridesmaid mother father mom dad parent
    grandmother grandfather grandma grandpa grandparent son daughter brother sister sibling twin friend lover
    husband wife king queen prince princess wizard witch villager protester marcher dj gamer operator attendant
    instructor yogi meditator participant contestant competitor protagonist character member stranger victim he
    she his her him who whose"""
)
"""What texts call a person, pronouns too."""
_OF_A_PERSON = _words("hand finger forearm torso")
"""What may be all that is seen of one."""

_KINDS: Mapping[str, tuple[str, ...]] = {
    label: tuple(kinds.split())
    for label, kinds in {
        "airplane": "aeroplane plane jet airliner aircraft biplane glider vehicle",
        "backpack": "rucksack knapsack bag",
        "bag": "backpack purse tote satchel suitcase pouch rucksack sack luggage briefcase clutch",
        "ball": "football basketball globe sphere",
        "bear": "cub panda grizzly",
        "bed": "bunk cot mattress crib",
        "bicycle": "bike cycle tricycle vehicle",
        "bin": "trashcan garbagecan dustbin wastebin wastebasket",
        "bird": """dove pigeon gull eagle hawk falcon owl crow raven magpie sparrow robin finch canary parrot macaw
            cockatoo budgie budgerigar parakeet duck duckling mallard goose swan hen rooster chicken
            chick turkey penguin flamingo heron egret pelican stork crane ibis peacock ostrich emu
            vulture kingfisher woodpecker swallow cormorant puffin quail pheasant toucan lark wren
            starling jay grebe fowl raptor""",
        "boat": """ship yacht canoe kayak ferry dinghy vessel raft catamaran gondola trawler tug tugboat barge liner
            schooner gunboat vehicle""",
        "book": "novel volume diary album magazine",
        "bottle": "flask jar container",
        "bus": "coach shuttle trolleybus vehicle",
        "butterfly": "moth monarch",
        "buggy": "stroller pram pushchair",
        "cake": "cupcake gateau muffin torte pastry",
        "car": """sedan suv hatchback coupe convertible wagon taxi cab minivan van jeep limousine limo automobile
            crossover pickup cruiser roadster cabriolet vehicle truck""",
        "cart": "wagon carriage trolley",
        "cat": "kitten kitty tabby feline siamese calico",
        "chair": "stool seat recliner rocker throne bench",
        "chicken": "hen rooster cock cockerel chick bird poultry",
        "coat": "jacket parka anorak trenchcoat overcoat cloak",
        "computer": "laptop pc macbook monitor tablet",
        "cow": "cattle bull ox calf heifer steer bovine",
        "cup": "mug glass tumbler goblet teacup beaker",
        "deer": "stag doe fawn buck elk moose reindeer roe",
        "dog": """puppy pup hound retriever labrador poodle terrier corgi husky shepherd dalmatian spaniel beagle
            dachshund chihuahua pug collie rottweiler pitbull mastiff setter samoyed malamute pomeranian
            mutt canine doggy""",
        "donkey": "mule ass burro",
        "doughnut": "donut pastry",
        "dress": "gown frock sundress robe",
        "duck": "duckling mallard drake bird",
        "faucet": "tap spigot",
        "ferry": "ship boat vessel",
        "fish": "shark salmon carp koi tuna trout cod ray eel angelfish clownfish",
        "flower": """rose tulip blossom bloom daisy orchid lily bouquet poppy sunflower lavender peony dandelion iris
            daffodil hydrangea petal plant""",
        "football": "ball",
        "glass": "cup goblet tumbler flute",
        "glasses": "spectacles eyeglasses sunglasses goggles",
        "goat": "kid ibex",
        "goose": "gosling bird",
        "gun": "pistol rifle revolver firearm shotgun handgun weapon",
        "hamburger": "burger cheeseburger",
        "hat": "cap beanie fedora helmet sombrero bonnet beret headwear",
        "helicopter": "chopper aircraft vehicle",
        "horse": "pony stallion mare foal colt mustang steed",
        "house": "building cottage cabin villa hut mansion home",
        "icecream": "sorbet gelato sundae popsicle",
        "jacket": "coat blazer parka hoodie windbreaker vest anorak",
        "jeep": "suv crossover truck pickup",
        "knife": "dagger blade cleaver",
        "lamp": "light lantern",
        "lamppost": "streetlight streetlamp",
        "laptop": "computer notebook macbook",
        "lion": "lioness cub",
        "microphone": "mic mike",
        "minivan": "van suv minibus crossover",
        "monitor": "screen display television tv",
        "monkey": "ape chimpanzee macaque baboon gorilla orangutan primate",
        "motorcycle": "motorbike bike scooter moped chopper vehicle",
        "mouse": "rodent rat",
        "mug": "cup",
        "oven": "stove range cooker",
        "pig": "piglet hog boar sow swine",
        "pizza": "slice",
        "plate": "dish platter saucer bowl",
        "rabbit": "bunny hare",
        "racket": "racquet",
        "refrigerator": "fridge freezer",
        "sheep": "lamb ram ewe",
        "ship": "ferry vessel tanker freighter boat yacht",
        "shirt": "blouse tee top tshirt jersey polo sweater",
        "shoe": "sneaker boot sandal heel trainer loafer slipper cleat footwear pump",
        "shorts": "trunks pants",
        "sign": "signboard billboard placard signpost",
        "sink": "washbasin basin",
        "skateboard": "longboard board",
        "snake": "python cobra viper boa",
        "snowboard": "board",
        "sofa": "couch settee loveseat sectional",
        "stove": "cooker oven hob range",
        "surfboard": "board longboard",
        "streetlight": "streetlamp lamppost",
        "stroller": "buggy pram pushchair",
        "suv": "jeep minivan crossover",
        "sweater": "jumper pullover cardigan jersey",
        "table": "desk countertop counter",
        "taxi": "cab car taxicab",
        "telephone": "phone smartphone mobile cellphone iphone handset device",
        "television": "tv screen monitor display",
        "tire": "tyre",
        "train": "locomotive tram subway carriage metro railcar engine vehicle",
        "tree": "palm oak pine maple birch willow sapling conifer fir spruce cypress",
        "trousers": "pants jeans slacks leggings joggers chinos",
        "truck": "pickup lorry semi trailer van tanker vehicle car",
        "turtle": "tortoise terrapin",
        "tv": "television screen monitor display",
        "van": "minivan minibus camper vehicle car truck",
        "washbasin": "sink basin",
        "wheel": "tire tyre",
    }.items()
}
"""What else a thing may be called: its kinds, its other names, and in a few rows what it is easily taken for."""

_IRREGULAR = {
    "mice": "mouse",
    "lice": "louse",
    "geese": "goose",
    "feet": "foot",
    "teeth": "tooth",
    "children": "child",
    "people": "person",
    "oxen": "ox",
    "dice": "die",
    "cacti": "cactus",
}
_PLURALS = (("s", ""), ("es", ""), ("ies", "y"), ("ves", "f"), ("ves", "fe"), ("men", "man"))
_SHORT_HEADS = _words("bag bed box bus cap car cat cup dog gun hat jar man mat mug pan pot tie top tub van")
"""Nouns of three letters that compounds end in; most others end by chance ("carpet", "monkey", "elephant")."""
_OTHER_THINGS = _words(
    """pineapple seahorse sawhorse eggplant screwdriver butterfly dragonfly starfish jellyfish hedgehog skyscraper
    landscape cityscape seascape vegetable comfortable constable stallion harvest scarecrow doughnut donut
    hourglass hotdog corndog despot wingspan passport spotlight sunlight moonlight daylight flashlight profile
    secondhand firsthand beforehand"""
)
"""What ends in the name of another thing without being a kind of it."""


def english_words(text: str) -> tuple[int, int]:
    """Number of words that only English uses to join others, and number of all words."""
    words = _WORD.findall(text.casefold())
    return sum(word in _FUNCTION_WORDS for word in words), len(words)


def is_called(text: str, label: str, *, synonyms: Mapping[str, tuple[str, ...]]) -> bool:
    """Whether a text names the object of a label: by a noun of it, a compound with one, a kind of it, or a synonym.

    A compound counts both ways: a "football" is a ball, and a "boat" will do for a sailboat.
    """
    words = _WORD.findall(label.casefold())
    if not words or _singulars(words[-1]) & _BROAD:
        return True
    said = _WORD.findall(text.casefold())
    names, forms = _all_singulars(_names(words, synonyms)), _all_singulars(said)
    # Two words may be one ("ice cream", "cell phone").
    pairs = _all_singulars(first + second for first, second in pairwise(said))
    return (
        bool(names & (forms | pairs))
        or any(_ends_in(form, name) for form in forms for name in names)
        or any(_ends_in(noun, form) for noun in _all_singulars(words) for form in forms)
    )


def _names(words: list[str], synonyms: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    """Of a label in lower-case words: what its object may be called."""
    further = (*synonyms.get(" ".join(words), ()), *synonyms.get(words[-1], ()))
    yield from (name.casefold() for name in further)
    nouns = [word for word in words if word not in _DESCRIBING | _FUNCTION_WORDS] or words[-1:]
    for noun in ("".join(words), *nouns):
        yield noun
        forms = _singulars(noun)
        if forms & _PERSON:
            yield from _PERSON | _OF_A_PERSON
        for general, kinds in _KINDS.items():
            if general in forms or any(_ends_in(form, general) for form in forms):
                yield from kinds
            elif not forms.isdisjoint(kinds):
                yield general


def _all_singulars(words: Iterable[str]) -> set[str]:
    return {form for word in words for form in _singulars(word)}


def _ends_in(word: str, name: str) -> bool:
    """Whether `word` is a compound with `name`, both in the singular: a football is a ball."""
    can_end = len(name) > 3 or name in _SHORT_HEADS
    return can_end and word.endswith(name) and len(word) >= len(name) + 3 and word not in _OTHER_THINGS


def _singulars(word: str) -> set[str]:
    """The word, and what it may be the plural of."""
    regular = {word.removesuffix(ending) + singular for ending, singular in _PLURALS if word.endswith(ending)}
    return {word, _IRREGULAR.get(word, word), *regular}
