"""What passes as a caption."""

from __future__ import annotations

import dataclasses

import pytest

from tests.stages.caption_examples import BAD_CLIPS, BAD_OBJECTS, GOOD_CLIPS, GOOD_OBJECTS
from vpdata.models.prompts import read_prompt
from vpdata.models.vocabularies import read_vocabulary
from vpdata.stages.caption_checks import CaptionChecks, problem_of

CHECKS = CaptionChecks()
# From VPBench's published captions, shortened.
CLIP = (
    "The video showcases a man with a well-groomed beard and mustache, wearing glasses and a dark t-shirt, in a "
    "minimalist setting. Throughout the video, he's engaged in a conversation, using his hands to emphasize points — "
    "and smiles at 3:30."
)


def check(text, label=None, checks=CHECKS):
    problem = problem_of(text, label=label, checks=checks)
    return problem and problem.check


@pytest.mark.parametrize("text", [CLIP, f"“{CLIP}”", CLIP.replace("a man", "Zoë"), CLIP.replace(".", "!")])
def test_plain_description_of_a_clip_passes(text):
    assert check(text) is None


@pytest.mark.parametrize(
    ("text", "failed"),
    [
        ("", "empty"),
        (" \n ", "empty"),
        (f"**Caption**: {CLIP}", "markup"),
        (f"# Description\n{CLIP}", "markup"),
        (f"The clip:\n- {CLIP}\n- {CLIP}", "markup"),
        (f"1. {CLIP}", "markup"),
        (f"```{CLIP}```", "markup"),
        (f"<p>{CLIP}</p>", "markup"),
        (f"[{CLIP}](http://host)", "markup"),
        ("I'm sorry, but I can't help with that.", "refusal"),
        ("I’m sorry.", "refusal"),
        (f"I cannot identify people. {CLIP}", "refusal"),
        (f"As an AI, I see this: {CLIP}", "refusal"),
        (f"Sure! {CLIP}", "refusal"),
        (f"Here is the caption: {CLIP}", "refusal"),
        ("视频中一位留着胡子的男人戴着眼镜,穿着深色的衣服,坐在简洁的房间里,一边说话一边用手势强调。", "language"),
        (f"{CLIP} Он улыбается и смотрит в камеру.", "language"),
        ("12 34 56 78.", "language"),
        (
            "Ein Mann steht im Regen und wartet auf den Bus. Die Kamera kreist um ihn, und ein Hund läuft langsam weg.",
            "language",
        ),
        ("\"I'm sorry, but I can't help with that.\"", "refusal"),
        (f'{{"caption": "{CLIP}"}}', "markup"),
        (f"<answer>{CLIP}", "markup"),
        ("A man speaks.", "length"),
        (f"{CLIP} " * 12, "length"),
        ("He goes on and on and on. " * 20, "repetition"),
        (CLIP[:-1], "ending"),
        (CLIP[:-30], "ending"),
    ],
)
def test_what_is_no_description_of_a_clip_fails_by_name(text, failed):
    assert check(text) == failed


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("a brown dog with a red collar", "dog"),
        ("two brown dogs at play", "dog"),
        ("A silver bus that turns left", "city buses"),
        ("a small pony in the grass", "ponies"),
        ("a white football with black spots", "ball"),
        ("a worn red T-shirt", "t-shirt"),
        ("a woman in a blue coat who walks to the left", "person"),
        ("two children on a swing", "young person"),
        ("a person in a blue coat", "person"),
        ("ein rotes Auto, das vorbeifährt", "AUTO"),
        ("a wooden boat with a white sail", "sailboat"),
        ("a pair of round glasses with thin frames", "eyeglasses"),
        ("a blue bus that stops", "bus (vehicle)"),
        ("a silver mic held close to the mouth", "microphone"),
        ("a tennis racquet swung overhead", "racket"),
        ("a yellow racquet with a worn grip", "tennis racket"),
        ("a black tyre turning quickly", "wheel"),
        ("a black tyre turning quickly", "tire"),
        ("a wide tire with a white rim", "tyre"),
        ("a tall street light with a curved arm", "lamppost"),
        ("a tall lamppost with a curved arm", "streetlight"),
        ("a yellow taxi that waits", "cab"),
        ("a grey suv in the rain", "jeep"),
        ("a white ferry with two decks", "ship"),
        ("a baby buggy with a raised hood", "stroller"),
        ("a blue bin with a lid", "trash can"),
        ("a wooden signboard on a post", "sign"),
        ("a pair of hands kneading dough", "person"),
        ("a thing of some kind", ""),
    ],
)
def test_object_is_called_by_its_label(text, label):
    assert check(text, label) is None


@pytest.mark.parametrize(
    ("text", "label", "failed"),
    [
        ("a grey cat on a wall", "dog", "label"),
        ("a red bus that turns left", "red car", "label"),
        ("a scarf of wool on a table", "car", "label"),
        ("a pineapple on a plate", "apple", "label"),
        ("a red carpet", "car", "label"),
        ("a black umbrella on the ground", "microphone", "label"),
        ("a wide street with a light van", "lamppost", "label"),
        ("a woman with long hair who walks", "hand bag", "label"),
        ("a man in a blue shirt", "hand towel", "label"),
        ("a black computer keyboard with lit keys", "sign", "label"),
        ("a skateboard on the ground", "road sign", "label"),
        ("a white airliner taking off", "ship", "label"),
        ("a secondhand wooden chair", "person", "label"),
        ("a train carriage with open doors", "stroller", "label"),
        ("a shopping cart full of boxes", "buggy", "label"),
        ("dog", "dog", "length"),
        ("a brown dog " * 30, "dog", "length"),
        ("I'm unable to see the dog", "dog", "refusal"),
    ],
)
def test_what_is_no_description_of_the_object_fails_by_name(text, label, failed):
    assert check(text, label) == failed


def test_black_behind_an_object_is_no_talk_where_the_video_is_dark():
    text = "A silver watch with a leather strap, shown against a black background."
    assert check(text, "watch") == "refusal"
    assert problem_of(text, label="watch", checks=CHECKS, may_be_on_black=lambda: True) is None


def test_each_check_can_be_set():
    lenient = CaptionChecks(
        min_latin_frac=0.0,
        min_english_frac=0.0,
        clip_words=(1, 1000),
        track_words=(1, 1000),
        max_repetition_frac=1.0,
        mentions_label=False,
    )
    assert check("男人在说话。", checks=lenient) is None
    assert check("He goes on and on and on. " * 20, checks=lenient) is None
    assert (
        check("Ein Mann in einer blauen Jacke steht im Regen und wartet auf den letzten Bus.", checks=lenient) is None
    )
    assert check("a cat", "dog", lenient) is None
    kind = dataclasses.replace(CHECKS, synonyms={"sports car": ("bolide",)})
    assert check("an old bolide in the rain", "sports car", kind) is None
    assert check("an old bolide in the rain", "car", kind) == "label"


def test_without_checks_only_an_empty_text_fails():
    assert check("I'm sorry", checks=None) is None
    assert check("", checks=None) == "empty"


def test_examples_in_our_own_prompts_pass():
    prompt = read_prompt("masked_object")
    example = "a brown dog with a red collar"
    assert f'"{example}"' in prompt
    assert check(example, "dog") is None


def test_no_good_text_of_the_table_is_lost_and_few_bad_ones_pass():
    """A text that is lost costs a track and its masks, one that passes an odd caption: so none is lost."""
    good = [*((text, None) for text in GOOD_CLIPS), *GOOD_OBJECTS]
    bad = [*((text, None) for text in BAD_CLIPS), *BAD_OBJECTS]
    assert (len(good), len(bad)) == (101, 75)
    assert [text for text, label in good if check(text, label) is not None] == []
    assert sum(check(text, label) is None for text, label in bad) == 5


def test_every_name_of_a_vocabulary_calls_itself():
    for name in read_vocabulary("lvis"):
        assert check(f"a bright {name} that stands on a table", name) is None


def test_irregular_plurals_are_the_noun():
    plurals = {"mouse": "mice", "wolf": "wolves", "knife": "knives", "goose": "geese", "calf": "calves"}
    plurals |= {"scarf": "scarves", "snowman": "snowmen", "leaf": "leaves", "foot": "feet", "tooth": "teeth"}
    plurals |= {"shelf": "shelves", "loaf": "loaves", "berry": "berries", "ox": "oxen", "bookshelf": "bookshelves"}
    for singular, plural in plurals.items():
        assert check(f"two bright {plural} that stand on a table", singular) is None
        assert check(f"a bright {singular} that stands on a table", plural) is None
        assert check("two bright things that stand on a table", singular) == "label"
