from dynamo_nb.llm.cache.blocks import block_hashes, chained

TOKENS = list(range(1000, 1100))


def test_only_full_blocks_have_names():
    assert len(block_hashes(TOKENS, 32)) == 3
    assert block_hashes(TOKENS[:31], 32) == []


def test_equal_beginnings_have_equal_names():
    changed = [*TOKENS[:64], 7, *TOKENS[65:]]
    one, other = block_hashes(TOKENS, 32), block_hashes(changed, 32)
    assert one[:2] == other[:2]
    assert one[2] != other[2]


def test_equal_tokens_after_different_beginnings_have_different_names():
    assert not set(block_hashes([1] * 64, 32)) & set(block_hashes([2] * 32 + [1] * 32, 32))


def test_adapters_and_salts_change_the_names():
    kinds = [{}, {"adapter": "a"}, {"salt": "a"}, {"adapter": "a", "salt": "a"}, {"adapter": "aa"}, {"salt": "aa"}]
    assert len({block_hashes(TOKENS, 32, **kind)[0] for kind in kinds}) == len(kinds)


def test_a_chain_can_be_continued():
    whole = block_hashes(TOKENS, 16)
    assert whole[:2] + chained(whole[1], TOKENS[32:], 16) == whole
