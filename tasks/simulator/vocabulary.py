"""The portal's words: real English, so that a pretrained language model sees an item's topic."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Vocabulary:
    """What a topic's headlines are made of."""

    topic: str
    nouns: tuple[str, ...]
    verbs: tuple[str, ...]
    """Third person singular: they follow a noun."""
    adjectives: tuple[str, ...]


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _topic(topic: str, nouns: str, verbs: str, adjectives: str) -> Vocabulary:
    return Vocabulary(topic, _words(nouns), _words(verbs), _words(adjectives))


TOPICS = (
    _topic(
        "sports",
        "quarterback striker coach goalkeeper team league tournament stadium playoff touchdown "
        "referee athlete sprinter midfielder championship football tennis marathon swimmer fan",
        "scores defeats tackles dribbles trains competes sprints qualifies",
        "unbeaten athletic injured winning defensive sporting veteran rookie",
    ),
    _topic(
        "politics",
        "senator parliament election ballot minister campaign voter congress president mayor "
        "legislation coalition diplomat referendum treaty governor lobbyist cabinet party debate",
        "vetoes legislates campaigns votes governs resigns negotiates impeaches",
        "bipartisan electoral presidential federal partisan diplomatic conservative liberal",
    ),
    _topic(
        "food",
        "recipe chef oven sauce pasta dessert soup bakery garlic cheese bread salad butter kitchen "
        "curry chocolate noodle restaurant dish spice",
        "bakes roasts simmers grills marinates fries garnishes tastes",
        "delicious savory crispy homemade spicy sweet creamy culinary",
    ),
    _topic(
        "space",
        "rocket telescope asteroid planet galaxy astronaut satellite comet orbit spacecraft moon "
        "nebula rover astronomer launchpad star meteor cosmos capsule probe",
        "orbits launches lands explores observes docks eclipses transmits",
        "lunar galactic interstellar solar cosmic martian celestial astronomical",
    ),
    _topic(
        "finance",
        "investor stock bond bank inflation dividend portfolio shareholder mortgage hedge currency "
        "trader loan earnings market broker pension tax deficit economist",
        "invests trades lends refinances borrows hedges profits divests",
        "bullish fiscal monetary volatile profitable leveraged financial indebted",
    ),
    _topic(
        "health",
        "doctor patient hospital surgeon nurse symptom therapy diabetes cholesterol medicine clinic "
        "cancer sleep vitamin allergy migraine heart arthritis diagnosis diet",
        "diagnoses heals prescribes treats recovers operates soothes rehabilitates",
        "chronic medical healthy clinical cardiac mental dietary painful",
    ),
    _topic(
        "travel",
        "beach hotel passport airline island cruise itinerary tourist suitcase resort airport "
        "backpacker hostel landmark vacation flight luggage destination lagoon guidebook",
        "travels departs hikes sails visits books wanders sightsees",
        "tropical scenic exotic coastal remote luxurious touristy picturesque",
    ),
    _topic(
        "film",
        "director actor screenplay premiere sequel movie cinema trailer documentary producer scene "
        "blockbuster actress remake thriller screenwriter audition studio oscar filmmaker",
        "directs films stars casts screens auditions premieres adapts",
        "cinematic animated acclaimed dramatic theatrical scripted starring hollywood",
    ),
    _topic(
        "music",
        "guitarist album concert orchestra singer melody drummer symphony song band pianist festival "
        "chorus violin rapper lyrics opera composer vinyl choir",
        "sings strums composes performs tours records harmonizes rehearses",
        "acoustic melodic orchestral rhythmic musical choral jazzy soulful",
    ),
    _topic(
        "gaming",
        "gamer console controller multiplayer dungeon esports joystick avatar quest speedrun "
        "playthrough streamer arcade patch expansion boss loot puzzle pixel modder",
        "respawns levels unlocks streams speedruns spawns upgrades crafts",
        "playable pixelated immersive virtual cooperative retro handheld modded",
    ),
    _topic(
        "technology",
        "software smartphone chip processor startup algorithm robot laptop encryption developer "
        "server browser database hacker app semiconductor cloud network sensor battery",
        "codes hacks encrypts automates downloads debugs installs computes",
        "digital wireless encrypted automated programmable electronic bionic quantum",
    ),
    _topic(
        "education",
        "teacher student classroom university scholarship curriculum homework professor exam school "
        "tuition graduate campus lecture kindergarten textbook tutor diploma essay principal",
        "teaches studies graduates enrolls lectures tutors memorizes grades",
        "academic scholarly educational literate undergraduate tenured remedial studious",
    ),
    _topic(
        "autos",
        "sedan engine driver pickup motorcycle dealership gearbox brake hatchback roadster tire "
        "garage mechanic convertible highway coupe diesel bumper horsepower minivan",
        "accelerates drives brakes parks tows overtakes steers refuels",
        "hybrid turbocharged electric rugged fast roadworthy sporty automotive",
    ),
    _topic(
        "weather",
        "storm hurricane forecast blizzard drought tornado rainfall flood heatwave thunder "
        "meteorologist snowfall monsoon temperature hail frost cyclone fog lightning breeze",
        "rains snows floods freezes thaws drizzles storms thunders",
        "humid windy freezing stormy sunny rainy icy sweltering",
    ),
)
"""The first `SimulatorSettings.topics` are there from the start; a new_topic shift opens the next."""

EVENT = _words(
    "pandemic virus outbreak lockdown quarantine infection epidemic coronavirus contagion variant "
    "vaccination wastewater pathogen superspreader isolation immunity"
)
"""What every topic writes about after a new_vocabulary shift: an event that reaches them all."""

GENERIC_NOUNS = _words("week report question answer change story day surprise chance idea")
GENERIC_PEOPLE = _words("insiders readers locals critics experts families neighbors officials")

HEADLINES = (
    "{adjective} {noun} {verb} after this {generic}",
    "Why the {noun} {verb}: {people} on {adjective} {second}",
    "{people} say {adjective} {noun} {verb} this {generic}",
    "How one {noun} {verb} with no {adjective} {second}",
    "The {generic} of the {noun} and the {adjective} {second}",
    "{noun} or {second}? What {people} want to know about {adjective} {third}",
    "{people} react as {noun} {verb} without {adjective} {second}",
    "That {adjective} {noun} {verb}, and {people} ask about the {second}",
    "Five {generic} ideas about the {adjective} {noun} that {verb}",
    "Inside the {noun}: one {generic} with the {second} that {verb}",
)
SENTENCES = (
    "The {second} and the {noun} were the talk of the {generic}, {people} said.",
    "It was a {generic} in which the {third} {verb}, and the {second} did not.",
    "Every {adjective} {third} {verb} more often than the {noun}, say {people}.",
    "For {people}, the {third} matters as much as the {adjective} {second}.",
)
