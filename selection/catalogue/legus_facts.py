"""What LEGUS's papers say of its fields: the bands of the five columns, and distances.

The tables have no header. Their masses rest on a distance, and their magnitudes on bands, that the
description beside each table gives; of those descriptions NGC 628's was at hand.
"""

import math

_UV = ("WFC3_UVIS_F275W", "WFC3_UVIS_F336W")
ALL_WFC3 = (*_UV, "WFC3_UVIS_F438W", "WFC3_UVIS_F555W", "WFC3_UVIS_F814W")
_ACS_BVI = (*_UV, "ACS_F435W", "ACS_F555W", "ACS_F814W")
_ACS_VI = (*_UV, "WFC3_UVIS_F438W", "ACS_F555W", "ACS_F814W")
_ACS_RI = (*_UV, "WFC3_UVIS_F438W", "ACS_F606W", "ACS_F814W")

# Bands of tables named acs-wfc3, by field: those named wfc3 are of WFC3 throughout (Calzetti et al.
# 2015, table 2 and section 3). Which bands share a footprint (66.666) says which share a camera.
# Where no source lies outside one band's frame all five are WFC3's, despite the name: NGC 3274,
# 3351 (GO 13364) and 4248. ACS's V is F606W where V-I is a third smaller, at a given B-I, than in
# the tables of F555W: NGC 4485 and 5474.
BANDS: dict[str, tuple[str, ...]] = {
    "ic4247": _ACS_RI,
    "ngc3274": ALL_WFC3,
    "ngc3351": ALL_WFC3,
    "ngc4248": ALL_WFC3,
    "ngc4449": _ACS_BVI,
    "ngc4485": (*_UV, "ACS_F435W", "ACS_F606W", "WFC3_UVIS_F814W"),
    "ngc5253": _ACS_BVI,
    "ngc5474": _ACS_RI,
    "ngc628-c": _ACS_BVI,
    "ngc628-e": (*_UV, "ACS_F435W", "WFC3_UVIS_F555W", "ACS_F814W"),
    "ngc7793-w": _ACS_VI,
    "ugc4305": _ACS_VI,
    "ugc5139": _ACS_VI,
    "ugc685": _ACS_RI,
    "ugc7242": _ACS_RI,
}

# Fields per line of published tables, by field and version: one with another number has lost or
# gained a field.
N_FIELDS: dict[tuple[str, str], int] = {
    ("ic4247", "v2"): 36,
    ("ngc1313-e", "v1"): 37,
    ("ngc1433", "v1"): 35,
    ("ngc1566", "v1"): 39,
    ("ngc1705", "v2"): 36,
    ("ngc3274", "v2"): 35,
    ("ngc3344", "v1"): 35,
    ("ngc3351", "v1"): 37,
    ("ngc4248", "v2"): 34,
    ("ngc4395-n", "v1"): 36,
    ("ngc4449", "v2"): 38,
    ("ngc4485", "v2"): 34,
    ("ngc45", "v1"): 37,
    ("ngc5253", "v2"): 36,
    ("ngc5474", "v1"): 37,
    ("ngc628-c", "v1"): 35,
    ("ngc6503", "v1"): 35,
    ("ngc7793-w", "v1"): 35,
    ("ugc4305", "v2"): 36,
    ("ugc5139", "v2"): 36,
    ("ugc685", "v2"): 36,
    ("ugc7242", "v2"): 36,
}

# Mpc, Calzetti et al. 2015 (AJ 149, 51), table 1, with the one exception below.
DISTANCES_MPC: dict[str, float] = {
    "eso486-g021": 9.5,
    "ic4247": 5.11,
    "ic559": 5.3,
    "ngc1291": 10.4,
    "ngc1313": 4.39,
    "ngc1433": 8.3,
    "ngc1510": 11.7,
    "ngc1512": 11.6,
    # 13.2 in the table; the masses published for it rest on 18 (Whitmore et al. 2021, table 3). At
    # the same age and E(B-V) mass and V stand 1.29 mag farther than NGC 628's 29.98: 31.27.
    "ngc1566": 18.0,
    "ngc1705": 5.1,
    "ngc2500": 10.1,
    "ngc3274": 6.55,
    "ngc3344": 7.0,
    "ngc3351": 10.0,
    "ngc3368": 10.5,
    "ngc3627": 10.1,
    "ngc3738": 4.9,
    "ngc4242": 5.8,
    "ngc4248": 7.8,
    "ngc4258": 7.98,
    "ngc4395": 4.3,
    "ngc4449": 4.31,
    "ngc4485": 7.6,
    "ngc4490": 7.2,
    "ngc45": 6.61,
    "ngc4594": 9.1,
    "ngc4605": 5.7,
    "ngc4656": 5.5,
    "ngc5194": 7.66,
    "ngc5195": 7.66,
    "ngc5238": 4.51,
    "ngc5253": 3.15,
    "ngc5457": 6.7,
    "ngc5474": 6.8,
    "ngc5477": 6.4,
    "ngc5949": 14.3,
    "ngc628": 9.9,
    "ngc6503": 5.27,
    "ngc6744": 7.1,
    "ngc7793": 3.44,
    "ugc1249": 6.9,
    "ugc4305": 3.05,
    "ugc4459": 3.66,
    "ugc5139": 3.98,
    "ugc5340": 5.9,
    "ugc685": 4.83,
    "ugc695": 10.9,
    "ugc7242": 5.42,
    "ugc7408": 6.7,
    "ugca281": 5.9,
}


def n_fields_of(field: str | None, version: str | None) -> int | None:
    """Fields per line of a published table; None for one that is not known."""
    return N_FIELDS.get((field or "", version or ""))


def bands_of(cameras: str | None, field: str | None) -> tuple[str, ...] | None:
    """The five bands of a table, in the order of its columns; None where they are not known.

    **Arguments:**

    - `cameras`: `wfc3` or `acs-wfc3`, as the file's name has it. `field`: `ngc628-c`.
    """
    if field in BANDS:
        return BANDS[field]
    return ALL_WFC3 if cameras == "wfc3" else None


def distance_modulus_of(field: str | None) -> float | None:
    """Distance modulus behind a field's published masses, mag; None where it is not known.

    A pointing's letter does not count: `ngc628-c` is NGC 628. NGC 628 has 29.98, as in its
    description.
    """
    for name in (field or "", (field or "").rsplit("-", 1)[0], (field or "").split("-")[0]):
        if name in DISTANCES_MPC:
            return round(5.0 * math.log10(DISTANCES_MPC[name]) + 25.0, 2)
    return None
