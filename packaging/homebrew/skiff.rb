class Skiff < Formula
  desc "Complete Kubernetes on your computer, in a virtual machine"
  homepage "https://github.com/skiff-k8s/skiff"
  url "https://github.com/skiff-k8s/skiff/releases/download/v0.0.0/skiff-v0.0.0.tar.gz"
  sha256 "0000000000000000000000000000000000000000000000000000000000000000"
  license "Apache-2.0"

  livecheck do
    url :stable
    strategy :github_latest
  end

  depends_on "go" => :build

  on_linux do
    depends_on "qemu"
  end

  deny_network_access! :test

  def install
    ldflags = "-s -w -X main.version=v#{version} -X main.commit=0000000000000000000000000000000000000000"
    system "go", "build", *std_go_args(ldflags:, tags: "libvirt_dlopen,netgo,osusergo"), "./cmd/skiff"
    system "go", "run", "./cmd/skiff-man", "--version", "v#{version}", "--epoch", time.to_i.to_s, "man"
    man1.install Dir["man/*.1"]
    generate_completions_from_executable(bin/"skiff", shell_parameter_format: :cobra)
  end

  test do
    ENV["SKIFF_HOME"] = testpath/"skiff"
    assert_match "skiff v#{version}", shell_output("#{bin}/skiff version")
    assert_match "There is no cluster yet", shell_output(bin/"skiff")
    assert_match "CLUSTER_NOT_FOUND", shell_output("#{bin}/skiff ip 2>&1", 5)
    system bin/"skiff", "config", "set", "memory", "4g"
    assert_match "memory: 4g", shell_output("#{bin}/skiff config view")
  end
end
