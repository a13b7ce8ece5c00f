package lab

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// StartProgram runs a program of the test's own that serves on addr, until the
// test ends, and returns when it accepts connections.
func StartProgram(tb testing.TB, name, addr, path string, args ...string) *Server {
	tb.Helper()
	s := &Server{Name: name, Addr: addr}
	s.Process = start(tb, filepath.Base(path)+"-"+name, exec.Command(program(tb, path), args...))
	s.waitListening(addr)
	return s
}

// tomcatHome is where Debian has Tomcat.
const tomcatHome = "/usr/share/tomcat10"

// StartTomcat runs a Tomcat as Debian ships it, whose session IDs end with
// "." and route. It has two applications with cookies of different paths, /
// and /shop, and each answers /count.jsp with route and the number of times
// that the session asked, and says if the session is lost.
func StartTomcat(tb testing.TB, name, route string) *Server {
	tb.Helper()
	s, env := tomcat(tb, name, route, route)
	cmd := exec.Command(tomcatProgram, "run")
	cmd.Env = append(os.Environ(), env...)
	s.Process = start(tb, "tomcat-"+name, cmd)
	s.waitListening(s.Addr)
	return s
}

// StartTomcatFrom is StartTomcat with the route that a file says, as
// jvmRoute=..., which whatever starts Tomcat reads. restart runs a new one.
func StartTomcatFrom(tb testing.TB, name, file string) (s *Server, restart []string) {
	tb.Helper()
	s, env := tomcat(tb, name, "${jvmRoute}", name)
	pid := filepath.Join(s.Dir, "pid")
	script := fmt.Sprintf(`
trap 'kill $!; wait $!; exit' TERM
while :; do
	. %s
	JAVA_OPTS="$JAVA_OPTS -DjvmRoute=$jvmRoute" %s run &
	echo $! > %s
	wait $!
done`, file, tomcatProgram, pid)
	cmd := exec.Command(program(tb, "sh"), "-c", script)
	cmd.Env = append(os.Environ(), env...)
	s.Process = start(tb, "tomcat-"+name, cmd)
	s.waitListening(s.Addr)
	return s, []string{"sh", "-c", fmt.Sprintf(`old=$(cat %[1]s); kill $old; while [ "$(cat %[1]s)" = "$old" ]; do sleep 0.1; done`, pid)}
}

// tomcatProgram starts Tomcat.
const tomcatProgram = tomcatHome + "/bin/catalina.sh"

// tomcat makes the directory of a Tomcat whose pages begin with says, and
// returns it with its environment.
func tomcat(tb testing.TB, name, route, says string) (s *Server, env []string) {
	tb.Helper()
	dir := tb.TempDir()
	addr := FreeAddr(tb)
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		tb.Fatalf("lab: %v", err)
	}
	for _, sub := range []string{"app", "conf", "logs", "temp", "webapps", "work"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o700); err != nil {
			tb.Fatalf("lab: %v", err)
		}
	}
	web, err := os.ReadFile("/etc/tomcat10/web.xml")
	if err != nil {
		tb.Fatalf("lab: %v; scripts/install-test-packages installs tomcat10", err)
	}
	WriteFile(tb, filepath.Join(dir, "conf"), "web.xml", web)
	WriteFile(tb, filepath.Join(dir, "conf"), "server.xml", fmt.Appendf(nil, tomcatServer, host, port, route))
	WriteFile(tb, filepath.Join(dir, "app"), "count.jsp", fmt.Appendf(nil, tomcatPage, says))
	return &Server{Name: name, Addr: addr, Dir: dir}, []string{
		"CATALINA_HOME=" + tomcatHome, "CATALINA_BASE=" + dir,
		// The compiler's first tier and a small heap: it lives for seconds.
		"JAVA_OPTS=-Xmx96m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
	}
}

// tomcatServer is server.xml. Without looking through libraries for tags, of
// which there are none, it starts in half the time.
const tomcatServer = `<Server port="-1">
  <Service name="Catalina">
    <Connector address="%[1]s" port="%[2]s" protocol="HTTP/1.1" maxThreads="8" minSpareThreads="2"/>
    <Engine name="Catalina" defaultHost="localhost" jvmRoute="%[3]s">
      <Host name="localhost" appBase="webapps" autoDeploy="false" deployOnStartup="false">
        <Context path="" docBase="${catalina.base}/app"><JarScanner scanClassPath="false"/></Context>
        <Context path="/shop" docBase="${catalina.base}/app"><JarScanner scanClassPath="false"/></Context>
      </Host>
    </Engine>
  </Service>
</Server>
`

const tomcatPage = `<%%@ page contentType="text/plain" session="false" %%><%%
  jakarta.servlet.http.HttpSession s = request.getSession();
  Integer n = (Integer) s.getAttribute("n");
  s.setAttribute("n", n = n == null ? 1 : n + 1);
  out.print("%s " + n);
%%>`
