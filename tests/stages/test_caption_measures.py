import pytest

from vpdata.stages.caption_measures import caption_measures


def test_words_are_counted_with_apostrophes_and_hyphens_inside_them():
    assert caption_measures("A dog's well-known trick: it can't stop, ever.") == (8, 0.0)


def test_empty_caption_has_no_words_and_no_repetition():
    assert caption_measures(" \n") == (0, 0.0)


def test_repetition_is_the_share_of_three_word_phrases_seen_before():
    # 8 words hold 6 phrases; "a red car", "red car passes" come twice.
    assert caption_measures("A red car passes, a red car passes") == (8, pytest.approx(2 / 6))


def test_caption_caught_in_a_loop_is_almost_all_repetition():
    assert caption_measures("and then the dog runs " * 40)[1] > 0.9


def test_case_and_punctuation_do_not_hide_a_repetition():
    assert caption_measures("The dog runs. THE DOG RUNS!") == caption_measures("the dog runs the dog runs")


def test_letters_of_any_script_make_words():
    assert caption_measures("Ein Bär läuft über die Straße") == (6, 0.0)
