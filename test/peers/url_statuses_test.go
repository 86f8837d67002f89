package peers

import (
	"fmt"
	"net/http"
	"slices"
)

// statuses are those that servers and CDNs send; 520 to 530 are Cloudflare's, and
// 999 is what sites answer that take us for a robot.
var statuses = slices.Concat(
	[]int{200, 201, 202, 203, 204, 205, 206, 207, 226},
	[]int{300, 301, 302, 303, 304, 305, 307, 308},
	[]int{400, 401, 402, 403, 404, 405, 406, 407, 408, 409, 410, 411, 412, 413, 414, 415, 416, 417, 418, 421, 422, 423, 424, 425, 426, 428, 429, 431, 444, 451, 499},
	[]int{101, 999},
	[]int{500, 501, 502, 503, 504, 505, 506, 507, 508, 509, 510, 511, 520, 521, 522, 523, 524, 525, 526, 527, 530},
)

// everyStatus is one situation per status.
func everyStatus() (list []situation) {
	for _, status := range statuses {
		s := situation{
			name: fmt.Sprintf("status %d", status), check: "url", connections: 2,
			peer: replies(fmt.Sprintf("HTTP/1.1 %d %s\r\nServer: nginx/1.22.1\r\nContent-Length: 0\r\n\r\n", status, http.StatusText(status))),
			real: []server{nginx(fmt.Sprintf("listen $HOST:$PORT; return %d;", status))},
			want: attention, says: []string{fmt.Sprintf("got status %d", status)},
		}
		switch {
		case status/100 == 2:
			s.want = well
		case status == 429:
			s.want = busy
		case status/100 == 5:
			s.want = bad
		}
		if status == 101 || status == 408 || status == 444 || status == 499 { // nginx closes without an answer
			s.real = nil
		}
		list = append(list, s)
	}
	return list
}
