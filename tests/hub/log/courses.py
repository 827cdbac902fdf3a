"""An application of the eventsourcing library: students enrol in courses, of which each has places for so many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eventsourcing.dcb.application import DCBApplication
from eventsourcing.dcb.domain import Selector, Slice, Tagged
from eventsourcing.dcb.msgpack import Decision
from eventsourcing.domain import event
from eventsourcing.persistence import Tracking
from eventsourcing.projection import Projection

from hub.log.recorder import ViewRecorder

MOST = 3  # Courses of one student.


class CourseOffered(Decision):
    course: str
    places: int


class StudentEnrolled(Decision):
    course: str
    student: str


class StudentLeft(Decision):
    course: str
    student: str


class Full(Exception):
    """The course has no place left."""


class TooMany(Exception):
    """The student has as many courses as anybody may have."""


class Offer(Slice[Decision]):
    def __init__(self, course: str, places: int) -> None:
        self.course, self.places, self.is_offered = course, places, False

    def consistency_boundary(self) -> Sequence[Selector]:
        return [Selector(types=[CourseOffered], tags=[self.course])]

    @event(CourseOffered)
    def _(self) -> None:
        self.is_offered = True

    def execute(self) -> None:
        if not self.is_offered:
            self.trigger_event(CourseOffered, tags=[self.course], course=self.course, places=self.places)


class Enrol(Slice[Decision]):
    """Two boundaries at once: the course's places, and the student's courses."""

    def __init__(self, student: str, course: str) -> None:
        self.student, self.course = student, course
        self.places = 0
        self.students: set[str] = set()
        self.courses: set[str] = set()

    def consistency_boundary(self) -> Sequence[Selector]:
        return [
            Selector(types=[CourseOffered, StudentEnrolled, StudentLeft], tags=[self.course]),
            Selector(types=[StudentEnrolled, StudentLeft], tags=[self.student]),
        ]

    @event(CourseOffered)
    def _(self, places: int) -> None:
        self.places = places

    @event(StudentEnrolled)
    def _(self, course: str, student: str) -> None:
        if course == self.course:
            self.students.add(student)
        if student == self.student:
            self.courses.add(course)

    @event(StudentLeft)
    def _(self, course: str, student: str) -> None:
        if course == self.course:
            self.students.discard(student)
        if student == self.student:
            self.courses.discard(course)

    def execute(self) -> None:
        if self.course in self.courses:
            return
        if len(self.students) >= self.places:
            raise Full
        if len(self.courses) >= MOST:
            raise TooMany
        both = [self.course, self.student]
        self.trigger_event(StudentEnrolled, tags=both, course=self.course, student=self.student)


class Courses(DCBApplication):
    def offer(self, course: str, places: int) -> None:
        self.do(Offer(course, places))

    def enrol(self, student: str, course: str) -> None:
        self.do(Enrol(student, course))


class Rolls(ViewRecorder):
    """How many there are in each course."""

    def count(self, course: str, more: int, tracking: Tracking) -> None:
        with self.transaction(tracking) as connection:
            connection.execute(
                "INSERT INTO courses.roll AS r VALUES (%s, %s)"
                " ON CONFLICT (course) DO UPDATE SET students = r.students + excluded.students",
                (course, more),
            )

    def rolls(self) -> dict[str, int]:
        with self.transaction() as connection:
            return dict(connection.execute("SELECT course, students FROM courses.roll ORDER BY course").fetchall())


class Enrolments(Projection[Rolls]):
    """Adds up, so that an event that came twice, or never, would show."""

    fails_at: int | None = None  # A position at which it fails once its row is written, before the end.

    def process_event(self, domain_event: Tagged[Any], tracking: Tracking) -> None:
        match domain_event.decision:
            case StudentEnrolled(course=course):
                more = 1
            case StudentLeft(course=course):
                more = -1
            case _:
                self.view.insert_tracking(tracking)
                return
        if tracking.notification_id == type(self).fails_at:
            with self.view.transaction(tracking) as connection:
                connection.execute("UPDATE courses.roll SET students = students + 1000")
                raise RuntimeError("a projection that fails")
        self.view.count(course, more, tracking)
