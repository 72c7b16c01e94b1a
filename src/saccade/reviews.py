"""Reviews for the demonstration: texts about four things each, with a query that means each of them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Review:
    """A text, four clauses of it, and for each a query that means it. Keys are span names."""

    text: str
    clauses: dict[str, str]
    queries: tuple[str, ...]


REVIEWS = (
    Review(
        "We stayed for three nights in June: the room was dirty and the staff were rude to us, but the breakfast was "
        "excellent and the beach was two minutes away.",
        {
            "room": "the room was dirty",
            "breakfast": "the breakfast was excellent",
            "staff": "the staff were rude to us",
            "beach": "the beach was two minutes away",
        },
        ("Was the room clean?", "How is the food in the morning?", "Are the employees friendly?", "Is the sea near?"),
    ),
    Review(
        "We stayed three nights in June: the room was dirty and nobody cleaned it, but the breakfast was excellent, "
        "the staff were kind to our children, and the noise from the street kept us awake.",
        {
            "room": "the room was dirty",
            "breakfast": "the breakfast was excellent",
            "staff": "the staff were kind to our children",
            "noise": "the noise from the street kept us awake",
        },
        ("Is the room clean?", "Is the food good?", "Are the employees friendly?", "Is it quiet at night?"),
    ),
    Review(
        "The phone arrived on time. The battery lasts two days, the camera is blurry in the evening, the screen "
        "scratched within a week, and support never answered my email.",
        {
            "battery": "The battery lasts two days",
            "camera": "the camera is blurry in the evening",
            "screen": "the screen scratched within a week",
            "support": "support never answered my email",
        },
        (
            "How long does a charge last?",
            "Are the photos sharp?",
            "Is the display robust?",
            "Does customer service reply?",
        ),
    ),
    Review(
        "The film was too long, but the actors were brilliant, the music was forgettable, and the ending made me cry.",
        {
            "length": "The film was too long",
            "actors": "the actors were brilliant",
            "music": "the music was forgettable",
            "ending": "the ending made me cry",
        },
        (
            "How is the running time?",
            "Is the cast any good?",
            "Is the soundtrack worth hearing?",
            "Is the conclusion moving?",
        ),
    ),
    Review(
        "The flight left two hours late, the seats were cramped, the meal was surprisingly good and my suitcase was "
        "lost.",
        {
            "delay": "The flight left two hours late",
            "seats": "the seats were cramped",
            "meal": "the meal was surprisingly good",
            "suitcase": "my suitcase was lost",
        },
        (
            "Was the plane on time?",
            "Is there room for my legs?",
            "Is the food on board tasty?",
            "Did the luggage arrive?",
        ),
    ),
    Review(
        "The waiter was rude, the soup was cold, the wine was wonderful and the bill was far too high.",
        {
            "waiter": "The waiter was rude",
            "soup": "the soup was cold",
            "wine": "the wine was wonderful",
            "bill": "the bill was far too high",
        },
        ("Is the service friendly?", "Is the food served hot?", "Are the drinks good?", "Is it expensive?"),
    ),
)
"""The layer of the demonstration was chosen on these."""

FRESH = (
    Review(
        "The car starts at once in winter, the boot is too small for a pram, the radio keeps losing its signal, and "
        "the garage charged me twice for one repair.",
        {
            "start": "The car starts at once in winter",
            "boot": "the boot is too small for a pram",
            "radio": "the radio keeps losing its signal",
            "garage": "the garage charged me twice for one repair",
        },
        (
            "Does the engine run in the cold?",
            "Is there space for luggage?",
            "Can I listen to music?",
            "Are the mechanics honest?",
        ),
    ),
    Review(
        "The teacher explains patiently, the classroom is freezing, the books cost a fortune, and the exam was easier "
        "than we feared.",
        {
            "teacher": "The teacher explains patiently",
            "classroom": "the classroom is freezing",
            "books": "the books cost a fortune",
            "exam": "the exam was easier than we feared",
        },
        ("Is the instructor any good?", "Is the room warm?", "Is the material expensive?", "Is the test difficult?"),
    ),
    Review(
        "Our new flat gets sun all day, the neighbours shout at midnight, the lift has been broken since May, and the "
        "landlord returned the deposit within a week.",
        {
            "sun": "Our new flat gets sun all day",
            "neighbours": "the neighbours shout at midnight",
            "lift": "the lift has been broken since May",
            "landlord": "the landlord returned the deposit within a week",
        },
        ("Is the apartment bright?", "Is it noisy at night?", "Does the elevator work?", "Do I get my money back?"),
    ),
    Review(
        "The trail was well marked, the hut had run out of water, the view from the top was hidden by fog, and our "
        "guide knew every flower.",
        {
            "trail": "The trail was well marked",
            "hut": "the hut had run out of water",
            "view": "the view from the top was hidden by fog",
            "guide": "our guide knew every flower",
        },
        (
            "Is it easy to find the way?",
            "Can I drink something on the way?",
            "Is the panorama beautiful?",
            "Does the leader know about plants?",
        ),
    ),
    Review(
        "The dentist did not hurt me, the waiting room was packed, the receptionist lost my papers, and the bill came "
        "as a pleasant surprise.",
        {
            "dentist": "The dentist did not hurt me",
            "waiting": "the waiting room was packed",
            "papers": "the receptionist lost my papers",
            "bill": "the bill came as a pleasant surprise",
        },
        ("Is the treatment painful?", "Is it crowded?", "Is the office well organised?", "Is it expensive?"),
    ),
)
"""Written after the layer of the demonstration was fixed, and never used to choose anything."""
