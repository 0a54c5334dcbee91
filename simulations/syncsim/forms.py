"""What clinics write down: the questions of their forms, and the names of their patients.

The numbers of the concepts are those of the CIEL dictionary where it has them. Answers are short,
few and repeated, as answers in clinics are; the values of a day therefore compress about as well
as real ones do, while row keys, which are random, do not compress at all.
"""

from dataclasses import dataclass

from syncproto.row import Value


@dataclass(frozen=True, slots=True)
class Question:
    """One line of a form: a concept, and the answers that are given."""

    concept: int
    answers: tuple[Value, ...]


def _tenths(least: float, most: float) -> tuple[str, ...]:
    """Readings as people write them, "36.8", all tenths between the two."""
    return tuple(f"{tenth / 10:.1f}" for tenth in range(round(least * 10), round(most * 10) + 1))


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_YES, _NO, _UNKNOWN = 1065, 1066, 1067
_ASKED: tuple[Value, ...] = (_NO, _NO, _NO, _YES, _UNKNOWN)

TEMPERATURES = _tenths(35.5, 40.5)

VITALS = (
    Question(5089, _tenths(3, 95)),  # weight in kg
    Question(5090, tuple(range(50, 195))),  # height in cm
    Question(5088, TEMPERATURES),  # temperature in degrees Celsius
    Question(5085, tuple(range(85, 180, 5))),  # systolic pressure
    Question(5086, tuple(range(50, 115, 5))),  # diastolic pressure
    Question(5087, tuple(range(52, 140))),  # pulse
    Question(5242, tuple(range(12, 44, 2))),  # breaths a minute
    Question(5092, tuple(range(86, 101))),  # oxygen saturation
)

CONSULTATION = (
    Question(160531, ("Cough for two weeks", "Fever", "Headache", "Review", "Abdominal pain")),
    *(Question(concept, _ASKED) for concept in (140238, 143264, 142412, 122983, 139084, 141600)),
    Question(1659, (664, 703, 1118, 1111)),  # tuberculosis
    Question(5356, (1204, 1205, 1206, 1207)),  # WHO stage
    *(Question(concept, _ASKED) for concept in (1110, 1109, 1112, 1270, 1113, 1268, 5272)),
    Question(159599, ("2024-02-12", "2024-08-05", "2025-01-20", "2025-05-14", "2025-09-01")),
    Question(1255, (1256, 1257, 1258, 1259, 1260)),  # plan of treatment
    Question(1246, (1107, 1115, 1116)),
    *(Question(concept, _ASKED) for concept in (374, 5271, 160575, 165050, 1728, 6042, 1284)),
    Question(1284, (116128, 123093, 114100, 117399, 119481, 121629, 113881)),  # diagnosis
    Question(159614, (1065, 1066)),
    Question(162169, ("stable", "improved", "no change", "to be reviewed", "referred")),
    *(Question(concept, _ASKED) for concept in (1271, 1272, 165095, 160632)),
    Question(1272, (1537, 164166, 1691, 5622)),  # referred to
    Question(5096, ("2026-02-02", "2026-02-16", "2026-03-02", "2026-04-06", "2026-07-06")),
)

RESULTS = (
    Question(21, _tenths(6, 17)),  # haemoglobin
    Question(1643, (703, 664, 1138)),  # malaria, rapid test
    Question(5497, tuple(range(40, 1200, 10))),  # CD4
    Question(856, (0, 20, 40, 150, 1_000, 12_000)),  # viral load
    Question(887, _tenths(3, 14)),  # glucose
    Question(790, tuple(range(40, 160, 5))),  # creatinine
)

PRESCRIPTION = (
    Question(1282, (70116, 71160, 79782, 105281, 84309, 78643)),  # drug
    Question(160856, (1, 2, 3)),  # dose
    Question(159368, (5, 7, 10, 30, 90)),  # days
    Question(1443, (10, 14, 15, 30, 60, 90)),  # quantity
)

ENROLMENT = (
    Question(2537, ("HIV", "TB", "ANC", "Diabetes", "Hypertension")),
    Question(160555, ("2026-01-05", "2026-01-06", "2026-01-07")),
    Question(160540, (160538, 160542, 159937)),
    Question(1715, (1716, 1717, 1718)),
)

REGISTRATION = (
    Question(159635, tuple(f"078 {number:03d} {number * 7 % 900 + 100}" for number in range(900))),
    Question(1054, (1055, 1056, 1057, 5555)),  # civil status
    Question(1712, (1107, 1713, 1714)),  # schooling
    Question(1542, (1538, 1539, 1540, 159465)),  # occupation
    Question(160749, ("mother", "father", "husband", "wife", "sister", "neighbour")),
)

FAMILY_NAMES = _words(
    """
    Uwase Mukamana Habimana Niyonzima Mugisha Ingabire Uwimana Nshimiyimana Hakizimana Ndayisaba
    Mukeshimana Nyirahabimana Bizimana Iradukunda Tuyishime Umutoni Kayitesi Munyaneza Nkurunziza
    Banda Phiri Mwale Chirwa Otieno Wanjiru Kiprono Achieng Mutua Kamau Nabirye Okello
    """
)
GIVEN_NAMES = _words(
    """
    Marie Jean Claudine Eric Alice Emmanuel Jeanne Innocent Esther Patrick Chantal Joseph Grace
    Samuel Diane David Solange Vincent Josiane Pascal Beata Felix Agnes Moses Ruth Daniel Odette
    Peter Vestine Simon
    """
)
VILLAGES = _words(
    """
    Rwinkwavu Kabarondo Mukarange Nyamirama Ndego Cyarubare Kageyo Rukara Gahini Murundi Kabare
    Nasho Mpanga Gatore Musaza Kigina Nyarubuye Butaro Kivuye Rusarabuye Gahunga Bungwe
    """
)
REASONS = ("outpatient", "review", "antenatal", "vaccination", "emergency", "chronic care")
PROVIDERS = ("nurse A", "nurse B", "nurse C", "clinical officer", "doctor", "laboratory")
