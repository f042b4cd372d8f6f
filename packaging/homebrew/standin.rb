# frozen_string_literal: true

# A stand-in for as much of Homebrew as the formula uses, for computers without Homebrew: it reads the formula as on each system,
# installs it below a folder of its own, and runs its test there. A word of the formula that it does not know, it does not check
# either: then it fails.
#
#   ruby standin.rb --read FORMULA     only read it
#   ruby standin.rb FORMULA            on the files of this checkout that git knows
#   ruby standin.rb FORMULA ARCHIVE    on a source archive, which must have the sum that the formula names

require "digest"
require "fileutils"
require "open3"
require "pathname"
require "rbconfig"
require "tmpdir"

# Like Homebrew's, it installs files into a folder, which is made.
class Pathname
  def install(*sources)
    sources = sources.flatten
    raise "nothing to install into #{self}" if sources.empty?

    mkpath
    sources.each { |source| FileUtils.mv source.to_s, to_s }
  end
end

# Like Homebrew's, the environment takes a Pathname.
class << ENV
  alias_method :set_text, :[]=

  def []=(name, value)
    set_text(name, value.is_a?(Pathname) ? value.to_s : value)
  end
end

# What stands in `livecheck do`.
class Livecheck
  attr_reader :seen

  def initialize
    @seen = {}
  end

  def url(value)
    @seen[:url] = value
  end

  def strategy(value)
    @seen[:strategy] = value
  end
end

class Formula
  SHELLS = %w[bash zsh fish pwsh].freeze

  class << self
    # The system as which the formula is read: :linux or :macos.
    attr_accessor :read_as

    def seen
      @seen ||= Hash.new { |all, name| all[name] = [] }
    end

    def forget
      @seen = nil
    end

    %i[desc homepage url sha256 license depends_on deny_network_access!].each do |word|
      define_method(word) { |*values| seen[word] << (values.size == 1 ? values.first : values) }
    end

    def livecheck(&block)
      check = Livecheck.new
      check.instance_eval(&block)
      seen[:livecheck] << check.seen
    end

    def on_linux
      yield if Formula.read_as == :linux
    end

    def on_macos
      yield if Formula.read_as == :macos
    end

    def test(&block)
      seen[:test] << block
    end

    def method_missing(word, *)
      raise NoMethodError, "the formula says #{word}, which the stand-in for Homebrew does not know"
    end

    def respond_to_missing?(*)
      false
    end
  end

  attr_reader :prefix, :testpath

  def initialize(prefix, testpath)
    @prefix = Pathname(prefix)
    @testpath = Pathname(testpath)
  end

  def bin = prefix/"bin"
  def man1 = prefix/"share/man/man1"
  def version = self.class.seen[:url].first[%r{/v(\d+\.\d+\.\d+[^/]*)/}, 1]
  def time = Time.at(Integer(ENV.fetch("SOURCE_DATE_EPOCH")))

  def std_go_args(ldflags:, tags:)
    ["-trimpath", "-o=#{bin/"skiff"}", "-ldflags=#{ldflags}", "-tags=#{tags}"]
  end

  def system(*command)
    words = command.map(&:to_s)
    raise "#{words.join(" ")}: ended with #{$?&.exitstatus}" unless Kernel.system(*words)
  end

  def shell_output(command, status = 0)
    out, ended = Open3.capture2(command.to_s)
    raise "#{command}: ended with #{ended.exitstatus}, want #{status}\n#{out}" if ended.exitstatus != status

    out
  end

  def assert_match(want, got)
    raise "got #{got.inspect}, want #{want.inspect} in it" unless got.match?(want.is_a?(String) ? Regexp.escape(want) : want)
  end

  def generate_completions_from_executable(program, shell_parameter_format:)
    raise "the stand-in knows the format :cobra alone" if shell_parameter_format != :cobra

    SHELLS.each do |shell|
      script = shell_output("#{program} completion #{shell == "pwsh" ? "powershell" : shell}")
      raise "the completions for #{shell} do not name skiff" unless script.include?("skiff")
    end
  end

  def method_missing(word, *)
    raise NoMethodError, "the formula says #{word}, which the stand-in for Homebrew does not know"
  end

  def respond_to_missing?(*)
    false
  end
end

def expect(what, got, want)
  raise "#{what}: got #{got.inspect}, want #{want.inspect}" unless want === got
end

# read loads the formula as on a system, and returns its class.
def read(file, system)
  Object.send(:remove_const, :Skiff) if Object.const_defined?(:Skiff)
  Formula.read_as = system
  load file
  Object.const_get(:Skiff)
end

def check_words(formula, system)
  seen = formula.seen
  %i[desc homepage url sha256 license livecheck test].each { |word| expect("#{word}, on #{system}", seen[word].size, 1) }
  expect "sha256", seen[:sha256].first, /\A[0-9a-f]{64}\z/
  expect "license", seen[:license].first, "Apache-2.0"
  expect "livecheck", seen[:livecheck].first, { url: :stable, strategy: :github_latest }
  expect "deny_network_access!", seen[:deny_network_access!], [:test]
  expect "depends_on, on #{system}", seen[:depends_on], system == :linux ? [{ "go" => :build }, "qemu"] : [{ "go" => :build }]
end

# unpack checks a source archive and returns the folder in it.
def unpack(archive, formula, folder)
  expect "the sum of #{archive}", Digest::SHA256.file(archive).hexdigest, formula.seen[:sha256].first
  expect "the name of #{archive}", File.basename(archive), File.basename(formula.seen[:url].first)
  Kernel.system("tar", "-xzf", archive, "-C", folder) || raise("#{archive} cannot be unpacked")
  inside = Dir.children(folder)
  expect "folders in #{archive}", inside.size, 1
  File.join(folder, inside.first)
end

only_read = ARGV.delete("--read")
file = File.expand_path(ARGV.fetch(0))
archive = ARGV[1] && File.expand_path(ARGV[1])
%i[macos linux].each { |system| check_words(read(file, system), system) }
exit if only_read
formula = read(file, RbConfig::CONFIG["host_os"].include?("darwin") ? :macos : :linux)
ENV["SOURCE_DATE_EPOCH"] ||= "1900000000"

Dir.mktmpdir("skiff-formula-") do |work|
  prefix, testpath, sources = %w[prefix test sources].map { |name| File.join(work, name).tap { |path| Dir.mkdir(path) } }
  if archive
    sources = unpack(archive, formula, sources)
  else
    Open3.pipeline(%w[git ls-files -z], %w[tar --null -T - -c], ["tar", "-xC", sources]).each { |ended| expect "copying", ended.success?, true }
  end
  installed = formula.new(prefix, testpath)
  Dir.chdir(sources) { installed.install }
  expect "programs that are installed", Dir.children(installed.bin), ["skiff"]
  expect "manual pages that are installed", Dir.children(installed.man1).size, 40..200
  Dir.chdir(testpath) { installed.instance_eval(&formula.seen[:test].first) }
end
puts "The formula installs, and passes its test."
