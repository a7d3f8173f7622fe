// Seconds since 1970 as RFC 3339 text, without a calendar library (floor 0 has none). Days become a date by
// counting eras of 400 years from a first of March, so that the leap day is the last day of a year.

/// Times as JSON shows them.
public enum Timestamp {
    /// The seconds that RFC 3339's four-digit years can express: the years 0 to 9999.
    public static let expressible: ClosedRange<Int64> = -62_167_219_200...253_402_300_799

    /// `2026-11-25T02:11:09Z` for a number of seconds since 1970-01-01T00:00:00Z, leap seconds not counted.
    /// Seconds outside `expressible` become the nearest one inside.
    public static func text(secondsSince1970: Int64) -> String {
        let seconds = min(max(secondsSince1970, expressible.lowerBound), expressible.upperBound)
        let secondsOfDay = (seconds % 86_400 + 86_400) % 86_400
        // Days since 0000-03-01, which lies 719,468 days before 1970-01-01; one era more keeps them positive.
        let days = (seconds - secondsOfDay) / 86_400 + 719_468 + 146_097
        let dayOfEra = days % 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let marchMonth = (5 * dayOfYear + 2) / 153
        let day = dayOfYear - (153 * marchMonth + 2) / 5 + 1
        let month = marchMonth < 10 ? marchMonth + 3 : marchMonth - 9
        let year = (days / 146_097 - 1) * 400 + yearOfEra + (month <= 2 ? 1 : 0)
        let date = "\(padded(year, 4))-\(padded(month, 2))-\(padded(day, 2))"
        let (hour, minute) = (secondsOfDay / 3_600, secondsOfDay / 60 % 60)
        return "\(date)T\(padded(hour, 2)):\(padded(minute, 2)):\(padded(secondsOfDay % 60, 2))Z"
    }

    private static func padded(_ number: Int64, _ width: Int) -> String {
        let digits = String(number)
        return String(repeating: "0", count: max(0, width - digits.count)) + digits
    }
}
