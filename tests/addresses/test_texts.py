from __future__ import annotations

import ipaddress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jackstop.addresses.lookup import KINDS, number_of
from jackstop.addresses.texts import Bad, Found, operator, published, range_of, read_list, read_published, read_table
from jackstop.clock import iso


def shown(found: Found | Bad) -> tuple[str, str, str] | str:
    """A range as text, or where the bad line is."""
    if isinstance(found, Bad):
        return found.place
    make = ipaddress.IPv4Address if found.version == 4 else ipaddress.IPv6Address
    return str(make(found.first)), str(make(found.last)), found.value


def table(text: str, kind: str = "country", name: str = "") -> list:
    return [shown(each) for each in read_table(text.splitlines(), kind, name)]


# -- addresses --------------------------------------------------------------------------------------------------------

texts = st.one_of(
    st.ip_addresses().map(str),
    st.ip_addresses(v=6).map(lambda address: address.exploded),
    st.from_regex(r"[0-9a-f:.]{1,20}", fullmatch=True),
    st.text(max_size=20),
)


@given(texts)
@example("::ffff:1.2.3.4")
@example("1.2.3.4\0")
@example("01.2.3.4")
@example("1.2.3")
@example("٣.2.3.4")
def test_an_address_is_read_as_ipaddress_does(text: str) -> None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        assert number_of(text) is None
        return
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id is not None:
            return
        address = address.ipv4_mapped or address
    assert number_of(text) == (address.version, int(address))


@given(st.ip_addresses(), st.data())
def test_a_network_is_read_as_ipaddress_does(address: ipaddress.IPv4Address, data: st.DataObject) -> None:
    length = data.draw(st.integers(0, address.max_prefixlen))
    network = ipaddress.ip_network(f"{address}/{length}", strict=False)
    version, first, last = range_of(f"{address}/{length}")
    if version == address.version:
        assert (first, last) == (int(network.network_address), int(network.broadcast_address))
    else:
        assert address.ipv4_mapped is not None


def test_ipv4_written_as_ipv6_is_ipv4() -> None:
    assert range_of("::ffff:1.2.3.0/120") == range_of("1.2.3.0/24")
    assert range_of("::ffff:1.2.3.4") == range_of("1.2.3.4")
    assert range_of("281470698520576", "281470698520831") == range_of("1.0.0.0/24")
    assert range_of("::/0") == (6, 0, (1 << 128) - 1)


@pytest.mark.parametrize(
    "cells",
    [
        ("1.2.3.4/33",),
        ("1.2.3.4/",),
        ("1.2.3.4/-1",),
        ("1.2.3.4/٣",),
        ("2001::/129",),
        ("x",),
        ("",),
        ("1.2.3.9", "1.2.3.4"),
        ("1.2.3.4", "2001::1"),
        ("1.2.3.4", "x"),
        ("-",),
        ("1.2.3.4-",),
        ("9" * 50, "9" * 51),
    ],
)
def test_what_is_no_range_is_said_to_be_none(cells: tuple[str, ...]) -> None:
    with pytest.raises(ValueError):
        range_of(*cells)


# -- tables, as their publishers lay them out -------------------------------------------------------------------------


def test_dbip_country_lite() -> None:
    assert table('"1.0.0.0","1.0.0.255","AU"\n"0.0.0.0","0.255.255.255","ZZ"\n"2001:200::","2001:200::ff","JP"') == [
        ("1.0.0.0", "1.0.0.255", "AU"),
        ("2001:200::", "2001:200::ff", "JP"),
    ]


def test_dbip_city_lite() -> None:
    line = '1.0.0.0,1.0.0.255,OC,AU,Queensland,"South Brisbane, West",-27.4767,153.017'
    assert table(line) == [("1.0.0.0", "1.0.0.255", "AU")]


def test_dbip_asn_lite() -> None:
    assert table('1.0.0.0,1.0.0.255,13335,"Cloudflare, Inc."', "asn") == [
        ("1.0.0.0", "1.0.0.255", "13335 Cloudflare, Inc."),
    ]


def test_ip2asn() -> None:
    text = "1.0.0.0\t1.0.0.255\t13335\tUS\tCLOUDFLARENET\n1.0.1.0\t1.0.3.255\t0\tNone\tNot routed\n"
    assert table(text, "asn") == [("1.0.0.0", "1.0.0.255", "13335 CLOUDFLARENET")]
    assert table(text, "country") == [("1.0.0.0", "1.0.0.255", "US")]


def test_ip2location_lite() -> None:
    text = '"0","16777215","-","-"\n"16777216","16777471","US","United States of America"'
    assert table(text) == [("1.0.0.0", "1.0.0.255", "US")]


def test_geolite2_asn_blocks() -> None:
    text = "network,autonomous_system_number,autonomous_system_organization\n1.0.0.0/24,13335,CLOUDFLARENET\n"
    assert table(text, "asn") == [("1.0.0.0", "1.0.0.255", "13335 CLOUDFLARENET")]


def test_ipinfo_lite() -> None:
    head = "network,country,country_code,continent,continent_code,asn,as_name,as_domain"
    text = f'{head}\n1.0.0.0/24,Australia,AU,Oceania,OC,AS13335,"Cloudflare, Inc.",cloudflare.com\n'
    assert table(text) == [("1.0.0.0", "1.0.0.255", "AU")]
    assert table(text, "asn") == [("1.0.0.0", "1.0.0.255", "13335 Cloudflare, Inc.")]


def test_headlines_say_where_the_range_ends() -> None:
    text = "start_ip;end_ip;something;country\n1.0.0.0;1.0.0.9;x;AU"
    assert table(text) == [("1.0.0.0", "1.0.0.9", "AU")]


def test_plain_networks_and_ranges_with_a_value() -> None:
    assert table("1.0.0.0/24,AU\n1.0.1.0-1.0.1.9,NZ") == [
        ("1.0.0.0", "1.0.0.255", "AU"),
        ("1.0.1.0", "1.0.1.9", "NZ"),
    ]


def test_the_kind_or_the_name_is_the_value_where_a_file_only_lists() -> None:
    assert table("1.0.0.0/24,US,Somewhere", "hosting") == [("1.0.0.0", "1.0.0.255", "hosting")]
    assert table("1.0.0.0/24,US,Somewhere", "cloud", "digitalocean") == [("1.0.0.0", "1.0.0.255", "digitalocean")]
    assert table("1.0.0.0/24,aws\n1.0.1.0/24,US", "cloud") == [("1.0.0.0", "1.0.0.255", "aws"), "line 2"]


def test_bad_lines_have_their_place_and_the_rest_goes_on() -> None:
    lines = [
        "# comment",
        "",
        "1.0.0.0,1.0.0.9,AU",
        "rubbish",
        "1.0.0.9,1.0.0.0,AU",
        '"1.0.1.0,1.0.1.9,AU',
        "1.0.2.0,1.0.2.9,Australia",
        "1.0.3.0,1.0.3.9,NZ",
    ]
    found = list(read_table(lines, "country", ""))
    assert [shown(each) for each in found] == [
        ("1.0.0.0", "1.0.0.9", "AU"),
        "line 4",
        "line 5",
        "line 6",
        "line 7",
        ("1.0.3.0", "1.0.3.9", "NZ"),
    ]
    assert [each.problem for each in found if isinstance(each, Bad)] == [
        "too few columns",
        "the range ends before it begins",
        "too few columns",
        "no country of two letters",
    ]


@given(st.lists(st.text(max_size=60), max_size=6), st.sampled_from(KINDS), st.sampled_from(["", "name"]))
def test_no_line_breaks_a_reader(lines: list[str], kind: str, name: str) -> None:
    for each in [*read_table(lines, kind, name), *read_list(lines, name)]:
        if isinstance(each, Found):
            assert 0 <= each.first <= each.last < 1 << (32 if each.version == 4 else 128)


# -- lists ------------------------------------------------------------------------------------------------------------


def test_a_list_of_addresses_networks_and_ranges() -> None:
    lines = [
        "# comment",
        "198.51.100.1",
        "198.51.100.0/28 ; office",
        "2001:db8::/32",
        "",
        "nonsense",
        "1.0.0.1-1.0.0.3",
    ]
    assert [shown(each) for each in read_list(lines, "tor")] == [
        ("198.51.100.1", "198.51.100.1", "tor"),
        ("198.51.100.0", "198.51.100.15", "tor"),
        ("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "tor"),
        "line 6",
        ("1.0.0.1", "1.0.0.3", "tor"),
    ]


def test_the_tor_project_s_own_list() -> None:
    lines = [
        "ExitNode 0011BD2485AD45D984EC4159C88FC066E5E3300E",
        "Published 2026-11-22 20:11:17",
        "LastStatus 2026-11-23 06:00:00",
        "ExitAddress 198.51.100.7 2026-11-23 06:12:41",
    ]
    assert [shown(each) for each in read_list(lines, "tor")] == [("198.51.100.7", "198.51.100.7", "tor")]


# -- what clouds publish ----------------------------------------------------------------------------------------------

AWS = {
    "syncToken": "1795400000",
    "createDate": "2026-11-22-21-03-05",
    "prefixes": [{"ip_prefix": "3.5.140.0/22", "region": "ap-northeast-2", "service": "AMAZON"}],
    "ipv6_prefixes": [{"ipv6_prefix": "2600:1f00::/24", "region": "us-east-1", "service": "EC2"}],
}
GOOGLE = {
    "syncToken": "1795400000000",
    "creationTime": "2026-11-22T14:03:33.46612",
    "prefixes": [
        {"ipv4Prefix": "34.1.208.0/20", "service": "Google Cloud", "scope": "africa-south1"},
        {"ipv6Prefix": "2600:1900:8000::/44", "service": "Google Cloud", "scope": "africa-south1"},
    ],
}
AZURE = {
    "changeNumber": 400,
    "cloud": "Public",
    "values": [
        {
            "name": "ActionGroup",
            "id": "ActionGroup",
            "properties": {"region": "", "platform": "Azure", "addressPrefixes": ["4.145.74.52/30", "2603:1000::/47"]},
        }
    ],
}
ORACLE = {
    "last_updated_timestamp": "2026-11-20T10:00:00.000000",
    "regions": [{"region": "us-phoenix-1", "cidrs": [{"cidr": "129.146.0.0/21", "tags": ["OCI"]}]}],
}
CLOUDFLARE = {"result": {"ipv4_cidrs": ["173.245.48.0/20"], "ipv6_cidrs": ["2400:cb00::/32"]}, "success": True}


@pytest.mark.parametrize(
    ("document", "cloud", "networks"),
    [
        (AWS, "aws", ["3.5.140.0/22", "2600:1f00::/24"]),
        (GOOGLE, "gcp", ["34.1.208.0/20", "2600:1900:8000::/44"]),
        (AZURE, "azure", ["4.145.74.52/30", "2603:1000::/47"]),
        (ORACLE, "oracle", ["129.146.0.0/21"]),
        (CLOUDFLARE, "cloudflare", ["173.245.48.0/20", "2400:cb00::/32"]),
        (["198.51.100.0/24"], "", ["198.51.100.0/24"]),
    ],
)
def test_clouds_files_are_known_by_their_shape(document: object, cloud: str, networks: list[str]) -> None:
    found = published(document)
    assert found is not None
    assert found.cloud == cloud
    assert [text for _, text in found.networks] == networks
    assert all(isinstance(each, Found) for each in read_published(found.networks, "x"))


def test_clouds_files_say_of_when_they_are() -> None:
    for document, day in ((AWS, "2026-11-22"), (GOOGLE, "2026-11-22"), (ORACLE, "2026-11-20")):
        found = published(document)
        assert found is not None
        assert found.as_of_us is not None
        assert iso(found.as_of_us).startswith(day)


@pytest.mark.parametrize("document", [None, 7, "x", {}, {"values": 7}, {"regions": [{}]}, {"result": None}])
def test_other_documents_are_not_taken_for_a_cloud_s(document: object) -> None:
    assert published(document) is None


def test_a_bad_network_of_a_cloud_has_its_place() -> None:
    found = published({**AWS, "prefixes": [{"ip_prefix": "nonsense"}, {"region": "x"}]})
    assert found is not None
    assert [each.place for each in read_published(found.networks, "aws") if isinstance(each, Bad)] == [
        "prefix 1",
        "prefix 2",
    ]


json_values = st.recursive(
    st.none() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["values", "regions", "result", "prefixes", "cidrs", "ip_prefix"]), inner)
    ),
    max_leaves=12,
)


@given(json_values)
def test_no_document_breaks_the_reader(document: object) -> None:
    found = published(document)
    if found is not None:
        list(read_published(found.networks, "x"))


def test_an_operator_without_a_name() -> None:
    assert operator(64_500, "") == "64500"
