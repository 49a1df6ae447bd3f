from lossbench._names import unknown


def test_a_near_name_is_offered_and_all_are_listed():
    message = str(unknown("shape", "dics", ["disc", "ring"]))
    assert message == "unknown shape 'dics'; did you mean 'disc'? There are: disc, ring"


def test_a_far_name_gets_the_list_alone():
    assert (
        str(unknown("shape", "zzz", ["disc", "ring"]))
        == "unknown shape 'zzz'. There are: disc, ring"
    )
    assert str(unknown("shape", "zzz", [])) == "unknown shape 'zzz'. There are: none"
