# Sourced: takes an official suite from Maven Central and runs packages of it. Uses $work.

# suite NAME VERSION...: the newest of the versions that resolves, into target/tck; TCK_CLASSPATH names one that is built
# already.
suite() {
    local name=$1 version
    shift
    if [ -z "${TCK_CLASSPATH:-}" ]; then
        for version in "$@"; do
            if mvn -q -B -Dstyle.color=never -f "tests/tck/$name/pom.xml" -P "$version" dependency:copy-dependencies \
                -DincludeScope=runtime -DoutputDirectory="$PWD/target/tck/$name-$version" >"$work/maven.log" 2>&1; then
                TCK_CLASSPATH="target/tck/$name-$version/*"
                echo "the suite's version is $version"
                break
            fi
            echo "the suite's version $version does not resolve"
        done
    fi
    if [ -z "${TCK_CLASSPATH:-}" ]; then
        grep -m 1 ERROR "$work/maven.log"
        exit 1
    fi
    mkdir -p "target/tck-launcher/$name"
    javac -proc:none -d "target/tck-launcher/$name" -cp "$TCK_CLASSPATH" tests/tck/Launch.java || exit 1
}

# launch NAME PROPERTIES PACKAGE...: runs the packages and prints the runner's counts.
launch() {
    local name=$1
    shift
    java -cp "target/tck-launcher/$name:$TCK_CLASSPATH" Launch "$@"
}
