package incident

import "time"

// Millis is a time in Unix milliseconds; 0 is no time. It is a number in JSON
// and in DynamoDB, so that it sorts, and so that "omitempty" leaves out no time.
type Millis int64

// At converts a time; the zero time becomes 0.
func At(t time.Time) Millis {
	if t.IsZero() {
		return 0
	}
	return Millis(t.UnixMilli())
}

// Time is the time in UTC; the zero time for 0.
func (m Millis) Time() time.Time {
	if m == 0 {
		return time.Time{}
	}
	return time.UnixMilli(int64(m)).UTC()
}

// Add returns the time d later.
func (m Millis) Add(d time.Duration) Millis { return m + Millis(d.Milliseconds()) }

// Sub returns the time from o to m.
func (m Millis) Sub(o Millis) time.Duration { return time.Duration(m-o) * time.Millisecond }
